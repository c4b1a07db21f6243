// The status page (control/page), where libmicrohttpd is there.
#include "control/master/server.h"

#ifdef STAGECC_PAGE
static json_t *tell(void *server)
{
    json_t *status = status_json(server);
    json_object_set_new(status, "timeline", timeline_json(server));
    return status;
}

int show_open(Server *s)
{
    if (!s->options->page)
        return EXIT_DONE;
    s->page = page_open(s->options->page, tell, s);
    if (s->page)
        story(s, "status page at %s", page_address(s->page));
    return s->page ? EXIT_DONE : EXIT_ENVIRONMENT;
}

int show_fd(const Server *s)
{
    return s->page ? page_wait_fd(s->page) : -1;
}

void show_serve(Server *s)
{
    if (s->page)
        page_serve(s->page);
}

void show_close(Server *s)
{
    if (s->page)
        page_close(s->page);
}
#else
int show_open(Server *s)
{
    if (!s->options->page)
        return EXIT_DONE;
    error_at(NO_LOC,
             "the status page needs libmicrohttpd, and this stagecc was built without it: "
             "apt-get install libmicrohttpd-dev and build it again, or leave --page out");
    return EXIT_ENVIRONMENT;
}

int show_fd(const Server *s)
{
    (void)s;
    return -1;
}

void show_serve(Server *s)
{
    (void)s;
}

void show_close(Server *s)
{
    (void)s;
}
#endif
