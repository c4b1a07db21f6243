// What the page is made of, taken from its files as they are.
#include "control/page/inside.h"

#define TEXT(name, file)                                                                       \
    __asm__(".pushsection .rodata\n"                                                           \
            ".global page_" #name ", page_" #name "_end\n"                                     \
            "page_" #name ":\n"                                                                \
            ".incbin \"" STAGECC_PAGE_DIR "/" file "\"\n"                                      \
            "page_" #name "_end:\n"                                                            \
            ".byte 0\n"                                                                        \
            ".popsection\n");                                                                  \
    extern const char page_##name[], page_##name##_end[];
#define PAGE_FILES(X)                                                                          \
    X(html, "page.html", "/", "text/html")                                                     \
    X(css, "page.css", "/page.css", "text/css")                                                \
    X(draw, "draw.js", "/draw.js", "text/javascript")                                          \
    X(curves, "curves.js", "/curves.js", "text/javascript")                                    \
    X(timeline, "timeline.js", "/timeline.js", "text/javascript")                              \
    X(script, "page.js", "/page.js", "text/javascript")

#define X(name, file, url, type) TEXT(name, file)
PAGE_FILES(X)
#undef X

const PageFile page_files[] = {
#define X(name, file, url, type) {url, type "; charset=utf-8", page_##name, page_##name##_end},
    PAGE_FILES(X)
#undef X
        {NULL, NULL, NULL, NULL}};
