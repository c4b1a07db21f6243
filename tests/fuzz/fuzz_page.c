// FUZZ: base/*.c control/page/listen.c control/page/metrics.c
// The master's page: its first line is a request's Host, the rest a status. A name that is let in is an address of digits,
// or the one that the page is at; every line of the metrics is a comment or a sample, whatever the status' texts are.
#include "control/page/inside.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_host(const char *host)
{
    static const PagePlace place = {.loopback = true, .name = "rack7"};
    static const char letters[] = "0123456789abcdefABCDEF:.";
    char own[PAGE_HOST] = "";
    gethostname(own, sizeof own - 1);
    if (!page_host_good(&place, host))
        return;
    size_t start = *host == '[', n = strspn(host + start, letters);
    char end = host[start + n];
    bool address = !end || (start && end == ']');
    bool known = !strncasecmp(host, "localhost", 9) || !strncasecmp(host, "rack7", 5) ||
                 !strncasecmp(host, own, strlen(own));
    if (!address && !known)
        abort();
}

static void check_metrics(const char *text)
{
    json_t *status = json_loads(text, 0, NULL);
    Text out = {0};
    page_metrics(&out, status);
    for (char *line = out.data, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (!end || (!str_starts(line, "# HELP stagecc_") &&
                     !str_starts(line, "# TYPE stagecc_") && !str_starts(line, "stagecc_")))
            abort();
    }
    text_release(&out);
    json_decref(status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    char *rest = strchr(text, '\n');
    if (rest)
        *rest++ = 0;
    check_host(text);
    check_metrics(rest ? rest : "");
    free(text);
    return 0;
}
