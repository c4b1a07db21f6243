// What a stage program needs of the machine it was started on, checked before anything else.
#ifndef STAGECC_RUNTIME_MACHINE_H
#define STAGECC_RUNTIME_MACHINE_H

#include "runtime/rt.h"

// Can this processor run the program? 0 or RT_E_ENVIRONMENT.
int rt__machine_check(rt_stage *s);
// Is there memory for so many bytes more? 0 or RT_E_MEMORY with both numbers.
int rt__machine_fits(rt_stage *s, uint64_t bytes);
// Bytes that this machine, or the container around the process, can still give; UINT64_MAX where it
// does not say.
uint64_t rt__machine_free_bytes(void);
// OpenMP and oneDNN read their environment when they are loaded, before main. Where it is not what
// the program needs (threads, waiting without spinning, instruction set), set it and start the
// program once more; returns where it is right, or cannot be changed.
void rt__machine_environment(const rt_program *program, char **argv);
int rt__machine_cores(void); // that this process may use

#endif
