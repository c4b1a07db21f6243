// The text form of a graph, which reads back to the same graph (docs/ir.md).
//
//   graph mlp micro_batch 4 block 16
//   layer fc1 linear @mlp.c:6:9
//   x = input {shape=[4,64], dtype="f32", role="sample"} : f32[4,64] of x @mlp.c:5:16
//   fc1 = linear x fc1.weight fc1.bias : f32[4,32] of fc1 @mlp.c:6:9
//   d_fc1 = relu_grad d_h fc1 : f32[4,32] backward of fc1 from h group 3 unit 1
//   loss cross_entropy1
#ifndef STAGECC_IR_TEXT_H
#define STAGECC_IR_TEXT_H

#include "base/text.h"
#include "ir/graph.h"

void ir_print(Text *out, const Graph *g);
// Of what a graph computes: of all but names of files, lines, calls, stages and settings of training.
uint64_t ir_hash(const Graph *g);
// NULL when errors were reported (at file:line:col of the text). file is for messages only.
Graph *ir_read(Arena *a, const char *file, const char *text);

#endif
