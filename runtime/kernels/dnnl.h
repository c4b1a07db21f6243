// Library kernels of the C backend: convolutions and matrix products by oneDNN, in float or bf16 (<stagecc/library.h>). All
// of a program's are made when it starts; calls allocate nothing of ours.
#ifndef STAGECC_DNNL_H
#define STAGECC_DNNL_H

#include <stagecc/library.h>

extern const rt_backend rt_dnnl; // for rt_program.backend

#endif
