// Kernels that are wrong on a device are seen to be wrong on the processor, and right ones are right.
#include "tests/kernels/cuda_test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 128 };

static void expect(const char *what, bool holds)
{
    printf("  %-60s %s\n", what, holds ? "yes" : "NO");
    failed |= !holds;
}

// The sum of every warp, and for every thread those of all warps.
template <bool WAIT> static __global__ void sums(double *y, const double *x)
{
    __shared__ double warp[THREADS / CU_WARP];
    const double sum = cu_team_sum<CU_WARP>(x[blockIdx.x * THREADS + threadIdx.x]);
    if (threadIdx.x % CU_WARP == 0)
        warp[threadIdx.x / CU_WARP] = sum;
    if (WAIT)
        __syncthreads();
    double all = 0;
    for (double w : warp)
        all += w;
    y[blockIdx.x * THREADS + threadIdx.x] = all;
}

// Of whole numbers, so that every order gives the same sum.
static void test_sums()
{
    enum { BLOCKS = 3, N = BLOCKS * THREADS };
    double x[N], y[N], want[BLOCKS] = {};
    for (int i = 0; i < N; i++) {
        x[i] = i * i % 101;
        want[i / THREADS] += x[i];
    }
    bool right = true, race = false;
    for (cu_order = 0; cu_order < CU_ORDERS; cu_order++) {
        CU_LAUNCH(sums<true>, BLOCKS, THREADS, NULL, y, x);
        for (int i = 0; i < N; i++)
            right &= y[i] == want[i / THREADS];
        CU_LAUNCH(sums<false>, BLOCKS, THREADS, NULL, y, x);
        for (int i = 0; i < N; i++)
            race |= !(y[i] == want[i / THREADS]);
    }
    cu_order = 0;
    expect("sums over warps and blocks", right);
    expect("without a barrier, they are seen to be wrong", race);
}

// A block that reads what another one writes.
static __global__ void chain(int *y)
{
    if (threadIdx.x == 0)
        y[blockIdx.x] = blockIdx.x ? y[blockIdx.x - 1] + 1 : 1;
}

static void test_blocks()
{
    int first[8] = {}, other[8] = {};
    CU_LAUNCH(chain, 8, THREADS, NULL, first);
    cu_order = 1;
    CU_LAUNCH(chain, 8, THREADS, NULL, other);
    cu_order = 0;
    expect("blocks that wait for each other have other bits in other orders",
           memcmp(first, other, sizeof first));
}

template <int LANES> static __global__ void team(double *sum, float *max, const float *x)
{
    const float v = x[blockIdx.x * blockDim.x + threadIdx.x];
    const double s = cu_team_sum<LANES>((double)v);
    const float m = cu_team_max<LANES>(v);
    if (cu_lane<LANES>() == 0) {
        sum[cu_team<LANES>()] = s;
        max[cu_team<LANES>()] = m;
    }
}

template <int LANES> static void test_team()
{
    enum { TEAMS = 4, N = TEAMS * LANES };
    Tensor<float> x(N), max(TEAMS);
    double sum[TEAMS];
    draw(x);
    in_orders("team", {max}, [&] {
        CU_LAUNCH(team<LANES>, cu_team_blocks(LANES, TEAMS), cu_team_threads(LANES), NULL, sum,
                  max.f, x.f);
    });
    bool right = true;
    for (int t = 0; t < TEAMS; t++) {
        double all = 0;
        float largest = -2;
        for (int i = t * LANES; i < (t + 1) * LANES; i++) {
            all += x.d[(size_t)i];
            largest = x.f[i] > largest ? x.f[i] : largest;
        }
        right &= fabs(sum[t] - all) < 1e-12 && max.f[t] == largest;
    }
    expect(LANES == CU_WARP ? "a team of a warp" : "a team of a block", right);
}

// Where each thread's number goes if those of which bit k is set come first in every warp.
static __global__ void votes(int *place, int k)
{
    const int lane = (int)threadIdx.x % CU_WARP;
    const unsigned vote = __ballot_sync(0xffffffffu, lane >> k & 1);
    const int before = __popc(vote & ((1u << lane) - 1));
    place[threadIdx.x] = lane >> k & 1 ? before : __popc(vote) + lane - before;
}

static void test_votes()
{
    int place[THREADS];
    bool right = true;
    for (cu_order = 0; cu_order < CU_ORDERS; cu_order++)
        for (int k = 0; k < 6; k++) { // of the last, no lane has a bit
            CU_LAUNCH(votes, 1, THREADS, NULL, place, k);
            for (int i = 0, yes = 0, no = 0; i < THREADS; i++) {
                const int lane = i % CU_WARP;
                yes = lane ? yes : 0;
                no = lane ? no : k < 5 ? CU_WARP / 2 : 0;
                right &= place[i] == (lane >> k & 1 ? yes++ : no++);
            }
        }
    cu_order = 0;
    expect("votes of a warp", right);
}

// What ends the program
// ----------------------------------------------------------------------------------------------

static __global__ void some_at_barrier(float *)
{
    if (threadIdx.x < CU_WARP)
        __syncthreads();
}

static __global__ void some_exchange(float *y)
{
    if (threadIdx.x % CU_WARP < 16)
        y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}

static __global__ void some_named(float *y)
{
    y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1);
}

static __global__ void beside_words(float *y)
{
    float x[4];
    cu_load<4>(x, y + 1);
}

static __global__ void nothing(float *)
{
}

template <typename F> static void expect_end(const char *what, F launch)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        launch();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    expect(what, WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_ends()
{
    alignas(16) static float y[2 * THREADS];
    expect_end("a barrier that some threads miss",
               [] { CU_LAUNCH(some_at_barrier, 1, THREADS, NULL, y); });
    expect_end("an exchange that some lanes miss",
               [] { CU_LAUNCH(some_exchange, 1, THREADS, NULL, y); });
    expect_end("an exchange between some lanes",
               [] { CU_LAUNCH(some_named, 1, THREADS, NULL, y); });
    expect_end("a word between two words",
               [] { CU_LAUNCH(beside_words, 1, THREADS, NULL, y); });
    expect_end("half a warp", [] { CU_LAUNCH(nothing, 1, 48, NULL, y); });
    expect_end("no blocks", [] { CU_LAUNCH(nothing, 0, 32, NULL, y); });
}

int main()
{
    test_sums();
    test_blocks();
    test_team<CU_WARP>();
    test_team<256>();
    test_votes();
    test_ends();
    return failed;
}
