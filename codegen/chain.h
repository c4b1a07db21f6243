// Element-wise ops as text: a chain is a fusion group, or one node, and its body computes one element
// of every member. Values that a later member reads are float variables v1, v2 ... Where elements lie
// and how they are read and stored is the backend's, by a Form; so are the loops around the body, and
// the functions in it: PREFIX_relu(x) and so on, as <stagecc/c_elementwise.h> has them.
#ifndef STAGECC_CODEGEN_CHAIN_H
#define STAGECC_CODEGEN_CHAIN_H

#include "codegen/codegen.h"

enum { CHAIN_MAX = 16 }; // members, at most (passes/fuse.c)

typedef struct Chain {
    Emit *e;
    const struct Form *form;
    const Node *const *nodes;
    int n;
    bool in_variable[CHAIN_MAX]; // computed in the body that is being written
    int norm;                    // the member that is a batch norm of some kind; -1: none
    const Node *known;           // a relu whose sign is found out from the norm's x; NULL: none
    const char *channel;         // the element's: PREFIX_norm_at(&k, CHANNEL, x)
    const void *user;            // the form's
} Chain;

// What a backend says of the element that the body is at.
typedef struct Form {
    const char *prefix; // of functions: "c" makes c_relu
    const char *index;  // the element's number in tensors of the members' shape
    // A tensor's element in memory as a float: "rt_to_float(conv1[i])". Of other shapes than the
    // members', it is the one that repeats here.
    const char *(*load)(const Chain *c, const Node *n);
    // Where the element of a member that has memory is stored: "relu1[i]".
    const char *(*place)(const Chain *c, const Node *n);
    // A float as n's tensor holds it: "rt_to_bf16(v3)".
    const char *(*stored)(Emit *e, const Node *n, const char *value);
} Form;

// The array of nodes stays the caller's.
Chain chain_of(Emit *e, const Form *form, const Node *const *nodes, int n);
int chain_member(const Chain *c, const Node *n); // -1: none
// Lines that compute members `begin` .. `end`-1 and store those that have memory, at e->indent.
// They read what the loops around declare: q, the keys of dropouts in the order of the members, and k,
// what the norm applies per channel.
void chain_body(Chain *c, int begin, int end);
// "rt_to_float(conv1[i])", "v3", "0.5f": the element of a value.
const char *chain_value(const Chain *c, const Node *n);

// Chains with a norm look at their tensors twice. The first look is for the sums of batch_norm_grad:
// members that make its dy, and all before it that have memory. The second applies the norm, computes
// what stands behind it, and again what it needs of those before.
void chain_first_look(Chain *c);
void chain_second_look(Chain *c);
// false: nothing from the norm on has memory, so one look does.
bool chain_applies(const Chain *c);
// For Backend.also_reads: where `known` is, beta of its norm.
const Node *chain_also_reads(const Node *n);

#endif
