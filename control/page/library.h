// libmicrohttpd, loaded by who serves the page. `mhd.run(…)` is MHD_run.
#ifndef STAGECC_CONTROL_PAGE_LIBRARY_H
#define STAGECC_CONTROL_PAGE_LIBRARY_H

#include <microhttpd.h>
#include <stdbool.h>

typedef struct Mhd {
#define FUNCTION(name) __typeof__(&MHD_##name) name;
#include "control/page/mhd.def"
#undef FUNCTION
} Mhd;

extern Mhd mhd; // filled by mhd_load

// false: it cannot be loaded; an error was reported.
bool mhd_load(void);

#endif
