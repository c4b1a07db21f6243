// How the elements of a channel are shared out to blocks and threads, and their sums, of which batch norm has two: cu_pixels
// where channels are neighbours, cu_planes where a channel's elements are. Both are of the same use:
//
//   N, CHANNELS           elements of a pack, which a thread takes at once, and channels that these are of: N, or one
//   channels(), count()   of the tensor; elements of a channel
//   apart()               from the first element of a channel to that of the next one
//   blocks(), parts()     of a kernel of CU_COLUMN_THREADS; how many blocks share a channel
//   left_over(), channel() of this thread: it has nothing to do; the channel of a pack's first element
//   first(zero, x)        the first elements of those CHANNELS
//   each(f)               f(at) for all packs of this thread, which is not left over; `at`: where a pack begins
//   add_up(part, terms)   terms(run, at) adds the terms of a pack to run[2][N]; the block's sums go to part, as
//                         cu_column_total wants them, of part_bytes(). All threads have to call it.
//
// What is a part depends on sizes only, and every sum has one order.
#ifndef STAGECC_CU_CHANNELS_H
#define STAGECC_CU_CHANNELS_H

#include <stagecc/cu_columns.cuh>

// x[pixels,C]: columns of a matrix.
template <typename T, int C> struct cu_pixels {
    typedef T type;
    typedef cu_columns<T, C> columns;
    static constexpr int N = columns::N, CHANNELS = N;
    int64_t pixels;

    CU_MEMBER_BOTH int channels() const
    {
        return C;
    }
    CU_MEMBER_BOTH int64_t count() const
    {
        return pixels;
    }
    CU_MEMBER_BOTH int64_t apart() const
    {
        return 1;
    }
    CU_MEMBER_BOTH int64_t parts() const
    {
        return columns::parts(pixels);
    }
    CU_MEMBER_BOTH int64_t blocks() const
    {
        return columns::blocks(pixels);
    }
    CU_MEMBER_BOTH int64_t part_bytes() const
    {
        return columns::part_bytes(pixels);
    }

    CU_MEMBER bool left_over() const
    {
        return columns::row() < 0;
    }
    CU_MEMBER int channel() const
    {
        return columns::column();
    }
    CU_MEMBER void first(float (&zero)[CHANNELS], const T *x) const
    {
        cu_load<N>(zero, x + channel());
    }
    template <typename F> CU_MEMBER void each(F f) const
    {
        columns::each(pixels, f);
    }
    template <typename F> CU_MEMBER void add_up(double *part, F terms) const
    {
        cu_column_parts<T, C>(part, pixels, [=](float(&run)[2][N], int64_t pixel, int column) {
            terms(run, pixel * C + column);
        });
    }
};

// x[before,channels,AFTER]: `before` runs of AFTER neighbours for each channel.
template <typename T, int64_t AFTER> struct cu_planes {
    typedef T type;
    static constexpr int N = cu_width<T>(AFTER), CHANNELS = 1;
    static constexpr int64_t PACKS = AFTER / N; // of a run
    int64_t before;
    int of_channels;

    CU_MEMBER_BOTH int channels() const
    {
        return of_channels;
    }
    CU_MEMBER_BOTH int64_t count() const
    {
        return before * AFTER;
    }
    CU_MEMBER_BOTH int64_t apart() const
    {
        return AFTER;
    }
    // About 512 blocks in all, and more where there are more channels; none takes less than four packs a thread, unless
    // the channel has no more.
    CU_MEMBER_BOTH int64_t packs_of_part() const
    {
        int64_t even = cu_ceil(before * PACKS, cu_ceil(512, of_channels)),
                least = 4 * CU_COLUMN_THREADS;
        return even > least ? even : least;
    }
    CU_MEMBER_BOTH int64_t parts() const
    {
        return cu_ceil(before * PACKS, packs_of_part());
    }
    CU_MEMBER_BOTH int64_t blocks() const
    {
        return parts() * of_channels;
    }
    // Of k sums a channel, double[parts][k][channels].
    CU_MEMBER_BOTH int64_t part_bytes(int k = 2) const
    {
        return parts() * k * of_channels * (int64_t)sizeof(double);
    }

    CU_MEMBER bool left_over() const
    {
        return false;
    }
    CU_MEMBER int channel() const
    {
        return (int)blockIdx.x % of_channels;
    }
    CU_MEMBER int64_t number_of_part() const // of this block
    {
        return (int)blockIdx.x / of_channels;
    }
    CU_MEMBER void first(float (&zero)[1], const T *x) const
    {
        zero[0] = cu_to_float(x[channel() * AFTER]);
    }

    // A block takes neighbouring packs at once. From one pack of a thread to its next one there are `runs` whole runs and
    // `more` packs, so that nothing is divided on the way.
    template <typename F> CU_MEMBER void each(F f) const
    {
        constexpr int64_t runs = CU_COLUMN_THREADS / PACKS, more = CU_COLUMN_THREADS % PACKS;
        const int64_t run = of_channels * AFTER, begin = number_of_part() * packs_of_part(),
                      next = begin + packs_of_part(), all = before * PACKS,
                      end = next < all ? next : all;
        int64_t p = begin + threadIdx.x, inside = p % PACKS,
                at = p / PACKS * run + channel() * AFTER + inside * N;
        for (; p < end; p += CU_COLUMN_THREADS) {
            f(at);
            at += runs * run + more * N;
            inside += more;
            if (inside >= PACKS) {
                inside -= PACKS;
                at += run - AFTER;
            }
        }
    }

    // Of K terms, in all threads: a thread in float over runs of CU_RUN packs, element by element, and these in double.
    template <int K, typename F> CU_MEMBER void sums(double (&sum)[K], F terms) const
    {
        float run[K][N] = {};
        int n = 0;
        CU_UNROLL
        for (int k = 0; k < K; k++)
            sum[k] = 0;
        auto take = [&] {
            CU_UNROLL
            for (int k = 0; k < K; k++) {
                CU_UNROLL
                for (int i = 0; i < N; i++) {
                    sum[k] += (double)run[k][i];
                    run[k][i] = 0;
                }
            }
            n = 0;
        };
        each([&](int64_t at) {
            terms(run, at);
            if (++n == CU_RUN)
                take();
        });
        take();
        CU_UNROLL
        for (int k = 0; k < K; k++)
            sum[k] = cu_team_sum<CU_COLUMN_THREADS>(sum[k]);
    }
    template <typename F> CU_MEMBER void add_up(double *part, F terms) const
    {
        double sum[2];
        sums(sum, terms);
        double *to = part + number_of_part() * 2 * of_channels + channel();
        if (threadIdx.x > 0)
            return;
        to[0] = sum[0];
        to[of_channels] = sum[1];
    }
};

#endif
