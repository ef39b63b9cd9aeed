#!/bin/sh
# properties = {properties}
# A Snakemake jobscript template; the job writes its exit code for status.sh.
cd "${{PBS_O_WORKDIR:-.}}" || exit 1
left=.snakemake/generic/${{SLURM_JOB_ID:-${{LSB_JOBID:-${{PBS_JOBID:-${{JOB_ID:-$$}}}}}}}}
mkdir -p .snakemake/generic
rm -f "$left" "$left.gone"
( {exec_job} )
code=$?
echo $code > "$left.new"
mv "$left.new" "$left"
exit $code
