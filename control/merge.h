// The stages' timelines as one file.
#ifndef STAGECC_CONTROL_MERGE_H
#define STAGECC_CONTROL_MERGE_H

// Joins file.stage0 … file.stageN-1 into file and removes them; what a stage did not write is left
// out. 0, or -1 with errno set.
int merge_traces(const char *file, int n_stages);

#endif
