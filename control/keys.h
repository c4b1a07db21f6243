// Key files (docs/keys.md), each for its owner alone (0600):
//
//   stagecc key 1
//   name h1
//   public rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
//   secret JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6
//   master Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID    of a worker: the one master that it talks to
#ifndef STAGECC_CONTROL_KEYS_H
#define STAGECC_CONTROL_KEYS_H

#include "control/curve.h"

enum { KEY_NAME = 64 };

typedef struct Key {
    char name[KEY_NAME + 1];
    CurveKey public_key, secret;
    CurveKey master; // empty: this is the master's own
} Key;

// All return exit statuses; what is not EXIT_DONE was reported, and leaves no secret in *k.
int key_make(Key *k, const char *name, const char *master); // a new pair; master NULL: its own
// Refused: what others than the owner may read, is malformed, or is no pair. No message shows what it holds.
int key_read(Key *k, const char *path);
int key_parse(Key *k, const char *path, const char *text);
// Whole or not at all, on the disk when this returns. A file of this name stays, unless it is to be replaced.
int key_write(const Key *k, const char *path, bool replace);
void key_wipe(Key *k);
// Letters, digits and ._- , none of the last two in front: files are called so.
bool key_name_good(const char *name);

#endif
