#include "control/merge.h"

#include "base/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

int merge_traces(Arena *a, const Launch *l)
{
    if (!l->trace)
        return 0;
    json_t *all = json_array(), *root = json_object();
    for (int i = 0; i < l->plan->n_ranks; i++) {
        const char *part = launch_trace(a, l, i);
        json_t *one = json_load_file(part, 0, NULL);
        json_array_extend(all, json_object_get(one, "traceEvents"));
        json_decref(one);
        unlink(part);
    }
    json_object_set_new(root, "displayTimeUnit", json_string("ms"));
    json_object_set_new(root, "traceEvents", all);
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
    Text t = {0};
    text_puts(&t, text ? text : "{}");
    int status = file_write(l->trace, t.data, t.length);
    text_release(&t);
    free(text);
    json_decref(root);
    return status;
}
