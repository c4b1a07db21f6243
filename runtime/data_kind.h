// Inside of the data readers: one row per kind of data set, and what they share. A kind maps
// its files when it is opened, says for every input of the model whether it fits, and writes
// single samples; order, batches and padding are data.c's.
#ifndef STAGECC_RUNTIME_DATA_KIND_H
#define STAGECC_RUNTIME_DATA_KIND_H

#include "runtime/data.h"
#include "runtime/data_file.h"

typedef struct rt__data_kind {
    const char *name, *usage;
    // Map files (rt__data_map), set samples, write the summary. Same results as rt__data_open.
    int (*open)(rt__data *d, const char *argument, rt__why *why);
    // Does input i fit? May allocate what reading it needs.
    int (*fit)(rt__data *d, int i, rt__why *why);
    // Write one sample of input i. 0 or RT__INPUT (a value out of range).
    int (*read)(rt__data *d, int i, uint64_t sample, void *out, rt__why *why);
    void (*close)(rt__data *d); // free what open and fit allocated; NULL: nothing
    // Move a sample of input i in place; NULL: the samples are no images.
    void (*shift)(const rt__data *d, int i, int down, int right, void *sample);
    bool many_inputs; // else the model has one sample input and one target at most
    bool pure;        // reads never fail, and several threads may be at it
} rt__data_kind;

extern const rt__data_kind rt__data_idx, rt__data_cifar10, rt__data_npy, rt__data_text,
    rt__data_tokens, rt__data_synthetic;

enum { RT__DATA_FILES = 1024 };

// A run of samples in one file: images with a label byte each, or tokens.
typedef struct rt__part {
    const rt__file *file, *label_file; // of the labels: another one, or the same
    uint64_t first, samples;           // numbers of its samples in the data set
    const uint8_t *pixels, *labels;
    uint64_t pixel_stride, label_stride; // bytes from sample to sample
    const uint8_t *tokens;
} rt__part;

// Where an output row or column lies between two input ones (bilinear).
typedef struct rt__tap {
    int low, high;
    float weight; // of high
} rt__tap;

typedef struct rt__images {
    int channels, height, width; // as stored, planar
    int out_channels, out_height, out_width;
    rt__tap *rows, *columns; // [out_height], [out_width]
    float level[256];        // normalised value of a pixel byte
    float *row;              // one sample before conversion to other dtypes than F32
} rt__images;

enum { RT__MOST_ARRAYS = 16 };

typedef struct rt__array { // npy
    const rt__file *file;
    char input[64]; // the name of the input that it is for; "": the samples, or the targets
    const uint8_t *data;
    int type; // row of the table in data_npy.c
    int rank;
    int64_t dim[32];
    uint64_t elements; // of one sample
} rt__array;

struct rt__data {
    struct rt__crew *crew; // NULL: nobody reads but the caller
    const rt__data_kind *kind;
    rt__data_options options;
    char *spec;
    uint64_t samples;
    rt__file *files; // [n_files], room for RT__DATA_FILES, so that pointers stay valid
    int n_files;
    rt__part *parts; // [n_files]
    int n_parts;
    rt__images images;
    rt__array arrays[RT__MOST_ARRAYS]; // npy: samples, targets; or as they are named
    bool named;                        // npy: the model may have several inputs
    int64_t length;                    // text, tokens: T
    int token_bytes;                   // text, tokens: 1 or 2
    int64_t classes; // synthetic: as its argument says; 0: the limit of the input
    float *normals;  // synthetic: a table of draws
    char summary[512];
};

// Both image kinds (data_image.c).
int rt__fit_image(rt__data *d, int i, rt__why *why);
int rt__read_image(rt__data *d, int i, uint64_t sample, void *out, rt__why *why);
void rt__close_image(rt__data *d);
void rt__shift_image(const rt__data *d, int i, int down, int right, void *sample);

// Map one more file of the data set.
int rt__data_map(rt__data *d, const char *path, const rt__file **file, rt__why *why);
rt__part *rt__data_part(rt__data *d, const rt__file *file, uint64_t samples); // adds one
const rt__part *rt__part_of(const rt__data *d, uint64_t sample);
int64_t rt__sample_elements(const rt_input *in);
// Integers of this input are below the limit; 0: nobody knows.
int64_t rt__data_limit(const rt__data *d, const rt_input *in);
// Is this class or token in range? 0, or RT__INPUT naming file and offset. Targets may be
// negative: such a row does not count.
int rt__data_check(const rt__data *d, const rt_input *in, int64_t value, const rt__file *file,
                   const uint8_t *at, rt__why *why);

#endif
