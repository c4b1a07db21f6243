// Serves a status that lies in a file: `serve_page LISTEN STATUS.json [TIMES]`. It prints the page's address, reads the file
// anew for each answer (what is no JSON: there is no status; nor is there any after so many), and ends with its input.
#include "control/page/page.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static int times = -1; // left; -1: without end

static json_t *read_status(void *path)
{
    if (!times)
        return NULL;
    if (times > 0)
        times--;
    return json_load_file(path, 0, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 3)
        times = atoi(argv[3]);
    Page *page = argc > 2 ? page_open(argv[1], read_status, argv[2]) : NULL;
    if (!page)
        return 1;
    puts(page_address(page));
    fflush(stdout);
    struct pollfd wait[] = {{.fd = page_wait_fd(page), .events = POLLIN},
                            {.fd = 0, .events = POLLIN}};
    while (!wait[1].revents) {
        poll(wait, 2, 200);
        page_serve(page);
    }
    page_close(page);
    return 0;
}
