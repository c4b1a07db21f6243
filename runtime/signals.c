#include "runtime/signals.h"

#include <signal.h>

static volatile sig_atomic_t came;

static void handle(int number)
{
    came = 1;
    signal(number, SIG_DFL);
}

void rt__signals_install(void)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN); // a launcher that is gone is noticed elsewhere
    signal(SIGXFSZ, SIG_IGN); // a file over the limit is an error of write
}

bool rt__signals_stop(void)
{
    return came;
}
