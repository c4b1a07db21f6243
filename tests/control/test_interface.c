// Addresses that other processes say they are at.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/interface.h"

#include <stdlib.h>

static void programs_use_it(void **state)
{
    (void)state;
    unsetenv("UCX_NET_DEVICES");
    unsetenv("NCCL_SOCKET_IFNAME");
    interface_use("eth1");
    assert_string_equal(getenv("UCX_NET_DEVICES"), "eth1");
    assert_string_equal(getenv("NCCL_SOCKET_IFNAME"), "=eth1"); // not eth10
    interface_use("eth2");
    assert_string_equal(getenv("UCX_NET_DEVICES"), "eth1");
    assert_string_equal(getenv("NCCL_SOCKET_IFNAME"), "=eth1");
}

static void endpoints(void **state)
{
    (void)state;
    static const char *const good[] = {"tcp://10.0.0.3:41234", "tcp://[::1]:1",
                                       "tcp://[fd00::3]:41234", "tcp://127.0.0.1:00080"};
    static const char *const bad[] = {
        "",
        "tcp://",
        "10.0.0.3:41234",
        "ipc:///tmp/x",
        "tcp://h1:41234", // a name is looked up, which may take long
        "tcp://10.0.0.3",
        "tcp://10.0.0.3:",
        "tcp://10.0.0.3:x",
        "tcp://10.0.0.3:123456",
        "tcp://10.0.0:1",
        "tcp://10.0.0.3;10.0.0.4:1", // ZeroMQ's word for a source
        "tcp://eth0;10.0.0.4:1",
        "tcp://:1",
        "tcp://[]:1",
        "tcp://[10.0.0.3]:1",
        "tcp://::1:1",
        "tcp://[::1:1",
        "tcp://10.0.0.3:1\033[2J",
        "tcp://1111111111111111111111111111111111111111111111111:1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!interface_endpoint(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (interface_endpoint(bad[i]))
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(endpoints),
                                       cmocka_unit_test(programs_use_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
