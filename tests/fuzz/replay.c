// Runs a fuzz target without libFuzzer: on every file of a folder, on each beginning of it, and with each
// byte altered in three ways. What a fuzzer once found becomes a seed and is tried by every test run.
//   replay_NAME tests/fuzz/seeds_NAME [POSITIONS]     of a long seed only so many bytes are altered
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SEED = 1 << 16 };
static uint8_t seed[MAX_SEED];
static size_t positions = 1500;
static long runs;

// A copy of exactly this size, so that sanitizers see every byte too far.
static void run(size_t size)
{
    uint8_t *exact = malloc(size + !size);
    memcpy(exact, seed, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    runs++;
}

static void run_altered(size_t size)
{
    static const uint8_t masks[] = {0x01, 0x10, 0xff};
    for (size_t i = 0; i < size; i += 1 + size / positions)
        for (size_t m = 0; m < sizeof masks; m++) {
            seed[i] ^= masks[m];
            run(size);
            seed[i] ^= masks[m];
        }
}

static int run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    size_t size = fread(seed, 1, sizeof seed, f);
    fclose(f);
    for (size_t n = 0; n < size; n += 1 + size / positions)
        run(n);
    run(size);
    run_altered(size);
    return 1;
}

int main(int argc, char **argv)
{
    int files = 0;
    if (argc > 2)
        positions = strtoul(argv[2], NULL, 10);
    DIR *dir = opendir(argc > 1 ? argv[1] : ".");
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        if (e->d_name[0] != '.' && n < (int)sizeof path)
            files += run_file(path);
    }
    if (dir)
        closedir(dir);
    printf("%d seeds, %ld runs\n", files, runs);
    return files > 0 ? 0 : 1;
}
