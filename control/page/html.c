// The page itself, taken from its file as it is.
#include "control/page/inside.h"

__asm__(".pushsection .rodata\n"
        ".global page_html, page_html_end\n"
        "page_html:\n"
        ".incbin \"" STAGECC_PAGE_HTML "\"\n"
        "page_html_end:\n"
        ".byte 0\n"
        ".popsection\n");
