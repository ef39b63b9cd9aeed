#!/bin/sh
# status.sh COMMAND... JOB: print running, success or failed for Snakemake. COMMAND JOB asks the scheduler whether it has the job.
# A job is done if it wrote its exit code (jobscript.sh). It failed if the scheduler has not had it for a minute and there is none.
for job; do :; done
left=.snakemake/generic/$job
if [ -s "$left" ]; then
    [ "$(cat "$left")" = 0 ] && echo success || echo failed
    rm -f "$left" "$left.gone"
    exit
fi
answer=$("$@" 2>&1)
if [ -n "$answer" ] && ! echo "$answer" | grep -Eiq 'not exist|not found|unknown job|invalid job|has finished|^(DONE|EXIT)'; then
    rm -f "$left.gone"  # also if the scheduler does not answer
    echo running
elif [ -z "$(find "$left.gone" -mmin +1 2>/dev/null)" ]; then
    mkdir -p .snakemake/generic
    [ -e "$left.gone" ] || touch "$left.gone"  # its exit code may not be visible here yet
    echo running
else
    rm -f "$left.gone"
    echo failed
fi
