// The master's status page: HTTP/1.1 from the thread that has the status, no thread of its own. Reads only; who may reach the
// address may read it (docs/page.md).
//
//   /             the page: control/page/page.html, and the files that it names
//   /status.json  what `status` gives, as JSON
//   /metrics      the same for Prometheus (text format 0.0.4)
//
// GET and HEAD, else 405. At most 32 connections, 8 KiB a request; who has not sent a request and taken its answer within
// 10 s of being let in, or of the answer before, is cut off.
#ifndef STAGECC_CONTROL_PAGE_PAGE_H
#define STAGECC_CONTROL_PAGE_PAGE_H

#include <jansson.h>

typedef struct Page Page;

// listen: "127.0.0.1:7071", "[::1]:7071", "master.example.org:7071"; "7071" is 127.0.0.1, "*:7071" every address; port 0:
// any that is free. On a loopback address only requests for an IP address, localhost, or this machine's name are answered
// (else a site could read the page by a name of its own that leads here). status: see page_serve. NULL: reported.
Page *page_open(const char *listen, json_t *(*status)(void *user), void *user);
const char *page_address(const Page *p); // "http://127.0.0.1:7071/", with its real port
// To poll for reading (not to read): then, and at least each 200 ms, page_serve is due.
int page_wait_fd(const Page *p);
// Answers what came; never waits. `status` is called at most once within, and only for who asks: it gives a new
// reference, or NULL when it has nothing to say (503).
void page_serve(Page *p);
void page_close(Page *p); // NULL is allowed

#endif
