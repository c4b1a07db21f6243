// stagecc-host DIR: see control/host.h. Started by `stagecc run --hostfile`, never by hand.
#include "control/host.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc == 2)
        return host_run(argv[1]);
    fprintf(stderr, "stagecc-host DIR: started by `stagecc run --hostfile`\n");
    return 1;
}
