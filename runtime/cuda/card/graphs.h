// A library kernel of cuDNN: one operation graph, or two that run one behind the other where no engine does all at once,
// and an execution plan of each. Made when a program starts; a call allocates only where it is given other tensors than
// ever before.
#ifndef STAGECC_CUDA_GRAPHS_H
#define STAGECC_CUDA_GRAPHS_H

#include "runtime/cuda/card/engines.h"
#include "runtime/cuda/card/plan_folder.h"

// Numbers of the tensors that are not within a graph: those that a call is given, from 1; one of the kernel's own, in its
// workspace; and floats that are the same in every call.
enum { DNN_TENSORS = 9, DNN_OWN, DNN_SCALAR, DNN_SCALARS = 3 };

enum { DNN_MOST_NAMES = 16 };
enum { DNN_MOST_GRAPHS = 2, DNN_IMPLEMENTATIONS = DNN_MOST_GRAPHS * (DNN_IMPLEMENTATION + 4) };

// Whoever makes kernels of one program.
typedef struct DnnMaker {
    rt_stage *stage;
    const Dnn *dnn;
    rt__plans *plans;        // tried first; new ones are added. NULL: none are kept
    rt__plan_folder *folder; // tried next, and new ones go there, too; NULL: there is none
    bool tf32;               // floats may go through tensor cores, in fewer bits; keys say so
} DnnMaker;

// One way to do it: adds the operations of graph `part` and returns nothing, for errors stay in the parts.
typedef void DnnBuild(DnnParts *p, const void *what, int part);

typedef struct DnnForm {
    DnnBuild *build;
    int n_graphs;
    unsigned allowed[DNN_MOST_GRAPHS]; // DNN_CORES and so on
    int64_t own_bytes;                 // of tensor DNN_OWN
} DnnForm;

typedef struct DnnWish {
    const char *key;            // says all that decides the kernel
    const char *implementation; // as DnnKernel.implementation says it; NULL: any
    const void *what;           // for DnnForm.build
    DnnForm forms[2];           // the first for which there are plans is taken
    int n_forms;
    bool optional; // the program can do without
    float scalars[DNN_SCALARS];
} DnnWish;

// A variant pack for each graph: what cuDNN calls a set of pointers.
typedef struct DnnPack {
    void *tensors[DNN_TENSORS], *workspace;
    DnnDesc packs[DNN_MOST_GRAPHS];
} DnnPack;

typedef struct DnnKernel {
    char implementation[DNN_IMPLEMENTATIONS]; // "e7 k24=21", "e5 k2=4 + e1 k24=2"
    int64_t workspace_bytes;                  // of a call
    DnnPlan plans[DNN_MOST_GRAPHS];
    int n_plans;
    int form;       // which of the wish's
    int64_t own_at; // bytes into the workspace
    float scalars[DNN_SCALARS];
    DnnPack *packs;
    int n_packs, room;
} DnnKernel;

// What is wished for, where that is said, else what cuDNN's heuristics say; each from kept plans where they are there. A
// wish that cannot be fulfilled is a warning. RT_E_KERNEL: there is no plan in any form; where the
// program can do without, that is a warning, and n_plans is 0. The kernel stays where it is: the library
// is given pointers into it.
int rt__dnn_make(const DnnMaker *m, const DnnWish *wish, DnnKernel *k);
void rt__dnn_unmake(DnnKernel *k);

// For whoever compares implementations: the names of those of one form, as heuristics have them, at most `most` and
// DNN_MOST_NAMES: how many. Not each can be made.
int rt__dnn_names(const DnnMaker *m, const DnnWish *wish, int form,
                  char (*names)[DNN_IMPLEMENTATIONS], int most);
// Exactly wish->implementation, in this form. false: there is none like that, of which nothing is said.
bool rt__dnn_make_named(const DnnMaker *m, const DnnWish *wish, int form, DnnKernel *k);
// Puts its plans, by their names, where the maker keeps plans.
void rt__dnn_keep(const DnnMaker *m, const DnnWish *wish, const DnnKernel *k);

// Puts one call into the stream, a cudaStream_t. tensors: of number 1 and so on, in the device's memory; NULL where the
// graphs have none. workspace: k->workspace_bytes, at a multiple of 256. RT_E_KERNEL, RT_E_MEMORY.
int rt__dnn_run(rt_stage *s, Dnn *d, DnnKernel *k, void *const tensors[DNN_TENSORS],
                void *workspace, void *stream);

#endif
