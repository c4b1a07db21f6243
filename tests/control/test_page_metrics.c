// The master's status for Prometheus: which lines it gives, whatever the status' texts are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifdef STAGECC_PAGE
#include "control/page/inside.h"

#include <stdlib.h>
#include <string.h>

#define HOSTILE "\"h1\\\"\\n</script><img src=x onerror=alert(1)>\\\\\"" // as JSON
static const char sample[] =
    "{\"job\": \"0123456789abcdef\", \"model\": \"resnet152\", \"now\": 1764412345.123,"
    " \"phase\": \"running\", \"epoch\": 3, \"step\": 120, \"last_step\": 400, \"loss\": 1.25,"
    " \"samples_per_s\": 12.5, \"changes\": 4, \"losses\": 1, \"last_pause_s\": 0.8,"
    " \"plan\": {\"name\": \"2 stages\", \"schedule\": \"1f1b\", \"predicted_step_s\": 1.2,"
    "  \"stages\": [{\"stage\": 0, \"replica\": 0, \"rank\": 0, \"worker\": 7, \"predicted_s\": 0.9,"
    "   \"busy_s\": 0.95, \"memory_bytes\": 5000000000},"
    "   {\"stage\": 1, \"replica\": 0, \"rank\": 1, \"worker\": 2, \"predicted_s\": 1}]},"
    " \"workers\": [{\"worker\": 7, \"name\": " HOSTILE ", \"here\": true, \"heard_ms\": 12,"
    "   \"memory_bytes\": 17179869184, \"speed\": 1.5, \"drained\": false},"
    "  {\"worker\": 2, \"name\": \"h2\", \"here\": false, \"heard_ms\": 61000, \"speed\": null}]}";

static char *metrics_of(const char *status)
{
    Text out = {0};
    json_t *parsed = json_loads(status, 0, NULL);
    assert_non_null(parsed);
    page_metrics(&out, parsed);
    json_decref(parsed);
    return out.data;
}

static bool has_line(const char *out, const char *line)
{
    const char *at = strstr(out, line);
    return at && at[strlen(line)] == '\n';
}

static void metrics(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "stagecc_info{job=\"0123456789abcdef\",model=\"resnet152\",plan=\"2 stages\",schedule=\"1f1b\"} 1",
        "stagecc_phase{phase=\"waiting\"} 0",
        "stagecc_phase{phase=\"running\"} 1",
        "# TYPE stagecc_epoch gauge\nstagecc_epoch 3",
        "stagecc_step 120",
        "stagecc_last_step 400",
        "stagecc_loss 1.25",
        "stagecc_samples_per_second 12.5",
        "# TYPE stagecc_plan_changes_total counter\nstagecc_plan_changes_total 4",
        "# TYPE stagecc_worker_losses_total counter\nstagecc_worker_losses_total 1",
        "stagecc_last_pause_seconds 0.8",
        "stagecc_predicted_step_seconds 1.2",
        "stagecc_stage_busy_seconds{stage=\"0\",replica=\"0\",rank=\"0\",worker=\"7\"} 0.95",
        "stagecc_stage_memory_bytes{stage=\"0\",replica=\"0\",rank=\"0\",worker=\"7\"} 5000000000",
        "stagecc_stage_predicted_busy_seconds{stage=\"1\",replica=\"0\",rank=\"1\",worker=\"2\"} 1",
        "stagecc_worker_here{worker=\"7\",name=\"h1\\\"\\n</script><img src=x onerror=alert(1)>\\\\\"} 1",
        "stagecc_worker_here{worker=\"2\",name=\"h2\"} 0",
        "stagecc_worker_heard_seconds{worker=\"2\",name=\"h2\"} 61",
        "# HELP stagecc_worker_speed Measured speed of the worker, as the planner counts it.\n"
        "# TYPE stagecc_worker_speed gauge\n"
        "stagecc_worker_speed{worker=\"7\",name=\"h1\\\"\\n</script><img src=x onerror=alert(1)>\\\\\"} 1.5"};
    char *out = metrics_of(sample);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!has_line(out, lines[i]))
            fail_msg("no `%s` in\n%s", lines[i], out);
    assert_null(strstr(out, "stagecc_worker_speed{worker=\"2\"")); // null: it is not known
    // Whatever a name says, each line is a comment or one sample, and a family's lines stand together.
    int heads = 0;
    for (char *line = strtok(out, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(!strncmp(line, "# ", 2) || !strncmp(line, "stagecc_", 8));
        heads += !strncmp(line, "# TYPE stagecc_worker_here ", 27);
    }
    assert_int_equal(heads, 1);
    free(out);
}

static void metrics_of_odd_statuses(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}", "[]",
        "{\"plan\": 1, \"workers\": {\"worker\": 1}, \"phase\": 3, \"loss\": \"x\"}",
        "{\"plan\": {\"stages\": [1, null, [], {}]}, \"workers\": [[], 1, {\"here\": true}]}",
        "{\"plan\": null, \"workers\": null, \"loss\": null}"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char *out = metrics_of(odd[i]);
        assert_non_null(strstr(out, "stagecc_phase{phase=\"done\"} 0\n"));
        assert_null(strstr(out, "stagecc_loss"));
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics),
        cmocka_unit_test(metrics_of_odd_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    return 77; // built without libmicrohttpd
}
#endif
