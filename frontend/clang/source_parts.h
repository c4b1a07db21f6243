// What the files source*.c share.
#ifndef STAGECC_FRONTEND_CLANG_SOURCE_PARTS_H
#define STAGECC_FRONTEND_CLANG_SOURCE_PARTS_H

#include "frontend/clang/source.h"

typedef struct SourceFile {
    CXFile file;
    const char *name, *text; // text NULL: none
    size_t size;
} SourceFile;

SourceFile *source_file(Source *s, CXFile file); // made once per file

// source_files.c
const char *source_overlay(Source *s); // a path for -ivfsoverlay
bool source_inclusions_fit(Source *s); // false: reported
// source_says.c: false: there were errors
bool source_show_diagnostics(Source *s);

#endif
