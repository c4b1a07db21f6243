// Of the master's core: who is there, what they hold, and the epoch that can be made of it.
#ifndef STAGECC_CONTROL_MASTER_EPOCH_H
#define STAGECC_CONTROL_MASTER_EPOCH_H

#include "control/master_core.h"

// Heard of lately (or may still be: a master that has just begun waits for all it knew).
bool member_lives(const Master *m, const Member *x, int64_t now_ns);
// Lives, is in the journal, and has said what it holds.
bool member_speaks(const Master *m, const Member *x, int64_t now_ns);
bool member_drained(const Member *x);
// Runs nothing any more, and has said what it holds since; or will never say so. Whoever may come back is waited for: an
// epoch may need what it has, or would lose it a moment later.
bool member_stopped(const Master *m, const Member *x, int64_t now_ns);
// Is ready for the epoch, or runs it.
bool member_ready(const Master *m, const Member *x);
// Those whom an epoch may use; their number. Drained ones work on as long as there are too few without them.
uint32_t master_candidates(const Master *m, int64_t now_ns, const Held *state,
                           PlanMember members[MOST_WORKERS]);
// The newest state that those who speak can bring together; false: into state, the committed one, and its parts that
// nobody has.
bool master_find_state(const Master *m, int64_t now_ns, Held *state);
// The next epoch: the planner's ranks, copies with neighbours, states from who has them. PLAN_NEW: into e.
PlanAnswer master_make_epoch(const Master *m, int64_t now_ns, Epoch *e);
// The newest state that all ranks hold, beyond the committed one and m->saved, of the epoch that runs; else those.
uint64_t master_saved(const Master *m);
// Behind which step the epoch ends, as far as is known.
uint64_t master_last(const Master *m);
// Behind which step everything is held twice next.
Held master_next_commit(const Master *m);
// The rank whose state is missing there, or (copied) its copy is; -1: none.
int master_misses(const Master *m, const Held *state, bool copied);

#endif
