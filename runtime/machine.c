#include "runtime/machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Instruction sets
// ---------------------------------------------------------------------------------

#if defined __x86_64__ || defined __i386__
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// What -march=x86-64-v4 lets a compiler use.
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool has_avx512_bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
#else
static bool has_avx2(void)
{
    return false;
}

static bool has_avx512(void)
{
    return false;
}

static bool has_avx512_bf16(void)
{
    return false;
}
#endif

static const struct Isa {
    const char *name, *library; // as plan/options.def and as oneDNN call it
    bool (*here)(void);
    const char *lacks;
} isas[] = {
    {"avx2", "AVX2", has_avx2, "AVX2 and FMA instructions"},
    {"avx512", "AVX512_CORE", has_avx512, "AVX-512 instructions (F, BW, CD, DQ, VL)"},
    {"avx512_bf16", "AVX512_CORE_BF16", has_avx512_bf16, "AVX-512 instructions with BF16"},
};

static const struct Isa *find_isa(const char *name)
{
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++)
        if (name && !strcmp(isas[i].name, name))
            return &isas[i];
    return NULL;
}

// Programs in bf16 need AVX-512 at least: there it is oneDNN that does without the instructions.
static const char *remedy(const struct Isa *isa)
{
    if (isa->here == has_avx512_bf16 && has_avx512())
        return "avx512";
    return isa->here == has_avx512 && has_avx2() ? "avx2" : "native";
}

int rt__machine_check(rt_stage *s)
{
    const struct Isa *isa = find_isa(s->program->isa);
    if (!isa || isa->here())
        return 0;
    return rt_fail(s, RT_E_ENVIRONMENT,
                   "this program was compiled for %s, which this processor does not have: "
                   "build it again with --isa %s",
                   isa->lacks, remedy(isa));
}

// Memory
// -----------------------------------------------------------------------------------------

// The number behind `key` in a file of "key: number" or plain number lines; false: not there.
static bool read_number(const char *path, const char *key, uint64_t *value)
{
    FILE *f = fopen(path, "r");
    char line[256];
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            found = sscanf(line + strlen(key), "%" SCNu64, value) == 1;
    if (f)
        fclose(f);
    return found;
}

uint64_t rt__machine_free_bytes(void)
{
    uint64_t kib, bytes = UINT64_MAX, limit, used;
    if (read_number("/proc/meminfo", "MemAvailable:", &kib))
        bytes = kib * 1024;
    if (read_number("/sys/fs/cgroup/memory.max", "", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", "", &used)) {
        uint64_t left = limit > used ? limit - used : 0;
        bytes = left < bytes ? left : bytes;
    }
    return bytes;
}

int rt__machine_fits(rt_stage *s, uint64_t bytes)
{
    uint64_t free_bytes = rt__machine_free_bytes();
    if (bytes <= free_bytes)
        return 0;
    return rt_fail(s, RT_E_MEMORY,
                   "stage %d needs %.1f MiB, this machine has %.1f MiB free: use more "
                   "micro-batches, a smaller batch, or more stages on more machines",
                   s->program->stage, (double)bytes / 0x1p20, (double)free_bytes / 0x1p20);
}

// Environment
// ------------------------------------------------------------------------------------

int rt__machine_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    return CPU_COUNT(&set);
}

// true: it had another value, or none where `keep` is set.
static bool set_variable(const char *name, const char *value, bool keep)
{
    const char *now = getenv(name);
    if (now && (keep || !strcmp(now, value)))
        return false;
    setenv(name, value, 1);
    return true;
}

void rt__machine_environment(const rt_program *program, char **argv)
{
    if (!program->backend || getenv("STAGECC_ENVIRONMENT"))
        return;
    char threads[16];
    snprintf(threads, sizeof threads, "%d", program->threads);
    const struct Isa *isa = find_isa(program->isa);
    bool changed = set_variable("OMP_NUM_THREADS", threads, false);
    changed |= set_variable("OMP_DYNAMIC", "false", false);
    if (program->threads > rt__machine_cores())
        changed |= set_variable("OMP_WAIT_POLICY", "passive", true);
    if (isa)
        changed |= set_variable("DNNL_MAX_CPU_ISA", isa->library, true);
    if (!changed)
        return;
    setenv("STAGECC_ENVIRONMENT", "set", 1); // once is enough, whatever the outcome
    execv("/proc/self/exe", argv);
}
