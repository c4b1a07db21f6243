// Matrix products: linear layers, their gradients and matmul are all c[m,n] = a[m,k] b[k,n], told apart by how
// their operands lie.
#ifndef STAGECC_IR_PRODUCT_H
#define STAGECC_IR_PRODUCT_H

#include "ir/graph.h"

typedef struct Product {
    int64_t batch, m, n, k;  // so many products of one size
    bool a_turned, b_turned; // stored as [k,m], [n,k]
    bool bias;               // of n elements, added to every row
} Product;

bool is_product(Op op);
Product product_of(const Node *n); // is_product(n->op)

#endif
