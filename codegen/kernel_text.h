// A stage's second source: functions that another compiler makes, and that the first one calls. Each distinct text is
// there once, whoever asks for it, so that equal layers share functions there as they share routines.
#ifndef STAGECC_CODEGEN_KERNEL_TEXT_H
#define STAGECC_CODEGEN_KERNEL_TEXT_H

#include "base/vec.h"
#include "codegen/codegen.h"

typedef struct KernelText {
    const char *stem; // of the function's name; begins with letters of ours (codegen/names.c)
    const char *head; // "void @name(rt_stage *s, float *y)": C, for both sources
    const char *
        code; // in the second one: the function, "extern \"C\" @head\n{\n...", and what it stands on
    const char
        *room; // bytes that it needs for the time being, as an expression there; NULL: none
} KernelText;

typedef struct KernelTexts {
    VEC(KernelText) items;
    VEC(const char *) names; // of items
} KernelTexts;

// The function's name, which is "@name" in its text: the stem, and a number where another text has that already. The
// texts have to live as long as e->scratch.
const char *emit_kernel(Emit *e, KernelText text);

// For Backend.kernel_source: the code of all, in the order in which they were asked for.
void kernel_texts_write(Emit *e);
// Their heads as declarations, in the first source.
void kernel_texts_declare(Emit *e);

#endif
