#include "control/merge.h"

#include "base/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int merge_traces(const char *file, int n_stages)
{
    json_t *all = json_array(), *root = json_object();
    for (int i = 0; i < n_stages; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s.stage%d", file, i);
        json_t *one = json_load_file(path, 0, NULL);
        json_array_extend(all, json_object_get(one, "traceEvents"));
        json_decref(one);
        unlink(path);
    }
    json_object_set_new(root, "displayTimeUnit", json_string("ms"));
    json_object_set_new(root, "traceEvents", all);
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(15));
    Text t = {0};
    text_puts(&t, text ? text : "{}");
    int status = file_write(file, t.data, t.length);
    text_release(&t);
    free(text);
    json_decref(root);
    return status;
}
