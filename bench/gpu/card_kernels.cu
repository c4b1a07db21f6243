// What the runtime launches itself, for a program that no model has made (messages.c).
#include <stagecc/cu_card.cuh>

CU_CARD_KERNELS
