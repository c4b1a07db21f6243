// Which ops have their images in the layout that the backend wants of images, and which of their inputs: the rules
// that passes/layout.c carries out, and that kernels of such a backend are written to.
#ifndef STAGECC_PASSES_IMAGES_H
#define STAGECC_PASSES_IMAGES_H

#include "ir/graph.h"

typedef struct ImageRules {
    const Graph *g;
    Layout own;          // LAYOUT_BLOCKED or LAYOUT_CHANNELS_LAST
    const Layout *group; // by group: decided before its members are asked what they want
} ImageRules;

// Would an image of this shape lie otherwise than plain? (One pixel is the same bytes either way, and counts as plain.)
bool image_differs(const ImageRules *r, Shape s);
// May a node, alone or as a member of a group, have its images so? And is that what it wants, or what it gets? Asked when
// its inputs have their layouts.
bool image_able(const ImageRules *r, const Node *n);
bool image_reason(const ImageRules *r, const Node *n);
// The layout of output 0, and that in which input i is read.
Layout image_made(const ImageRules *r, Node *n);
Layout image_wanted(const ImageRules *r, Node *n, int i);

#endif
