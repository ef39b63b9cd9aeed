#!/bin/sh
# status.sh COMMAND... JOB: running, success or failed, for Snakemake. COMMAND JOB asks the scheduler whether it still has the job.
# A job is done when it left its exit code (jobscript.sh), and has failed when the scheduler lost it a minute ago and it left none.
for job; do :; done
left=.snakemake/generic/$job
if [ -s "$left" ]; then
    [ "$(cat "$left")" = 0 ] && echo success || echo failed
    rm -f "$left" "$left.gone"
    exit
fi
answer=$("$@" 2>&1)
if [ -n "$answer" ] && ! echo "$answer" | grep -Eiq 'not exist|not found|unknown job|invalid job|has finished|^(DONE|EXIT)'; then
    rm -f "$left.gone"  # also where the scheduler does not answer at present
    echo running
elif [ -z "$(find "$left.gone" -mmin +1 2>/dev/null)" ]; then
    mkdir -p .snakemake/generic
    [ -e "$left.gone" ] || touch "$left.gone"  # its exit code may be on its way from the node to here
    echo running
else
    rm -f "$left.gone"
    echo failed
fi
