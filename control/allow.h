// The allow list of a master: whose connections it takes, one a line.
//
//   # the two in the rack
//   Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID h1
//   rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7 h2   # older
//
// No key begins with `#`: five digits that do are more than four bytes.
#ifndef STAGECC_CONTROL_ALLOW_H
#define STAGECC_CONTROL_ALLOW_H

#include "base/arena.h"
#include "base/diag.h"
#include "control/curve.h"

typedef struct AllowedKey {
    const char *name, *public_key;
    Loc loc;       // of the key
    size_t offset; // of the key in the text
} AllowedKey;

typedef struct AllowList {
    AllowedKey *items;
    int n;
} AllowList;

// NULL: errors were reported with line and column: what is no key, keys or names that are listed twice.
AllowList *allow_parse(Arena *a, const char *file, const char *text);
AllowList *allow_read(Arena *a, const char *file);
// NULL: it is not listed.
const AllowedKey *allow_key(const AllowList *list, const char *public_key);
const AllowedKey *allow_name(const AllowList *list, const char *name);

#endif
