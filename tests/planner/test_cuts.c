// What the search stands on: cuts of graphs, orders, joined nodes, moves of machines.
#include "passes/planner/cuts.h"
#include "passes/planner/moves.h"
#include "passes/planner/orders.h"
#include "tests/planner/oracle.h"
#include "tests/planner/random_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { MANY = 1 << 20 };

static Problem *nodes(Arena *a, int n)
{
    Problem *p = arena_new(a, Problem);
    *p = (Problem){.n = n, .n_profiles = 1};
    p->nodes = arena_array(a, ProblemNode, n);
    p->tensors = arena_array(a, ProblemTensor, n * n);
    p->together = arena_array(a, ProblemPair, n);
    for (int v = 0; v < n; v++) {
        p->nodes[v].name = arena_printf(a, "n%d", v);
        p->nodes[v].forward_s[0] = v + 1;
        p->nodes[v].parameter_bytes = 10 * (v + 1);
    }
    return p;
}

// A tensor for up to two users; -1: none.
static void tensor(Arena *a, Problem *p, int producer, int user, int other, double bytes)
{
    ProblemTensor *t = &p->tensors[p->n_tensors++];
    *t = (ProblemTensor){.producer = producer, .users = arena_array(a, int, 2), .bytes = bytes};
    t->users[t->n_users++] = user;
    if (other >= 0)
        t->users[t->n_users++] = other;
}

static void cuts_are(Arena *a, const Problem *p, int n)
{
    Core core = core_of(a, p);
    Cuts *c = cuts_all(a, &core, n);
    assert_non_null(c);
    assert_int_equal(c->n, n);
    assert_true(c->all);
    assert_null(cuts_all(a, &core, n - 1));
}

static long choose(int n, int k)
{
    return k ? choose(n - 1, k - 1) * n / k : 1;
}

static void known_graphs_have_known_numbers_of_cuts(void **state)
{
    (void)state;
    Arena a = {0};
    for (int n = 1; n <= 70; n += 23) { // beyond one word of a set
        Problem *chain = nodes(&a, n);
        for (int v = 1; v < n; v++)
            tensor(&a, chain, v - 1, v, -1, 1);
        cuts_are(&a, chain, n + 1);
    }
    cuts_are(&a, nodes(&a, 12), 1 << 12);
    for (int w = 1; w <= 4; w++) {
        Problem *apart = nodes(&a, 9 + w), *grid = nodes(&a, 5 * w);
        for (int v = 1; v < 9 + w; v++)
            if (v != 9)
                tensor(&a, apart, v - 1, v, -1, 1);
        cuts_are(&a, apart, 10 * (w + 1)); // chains of 9 and w
        for (int v = 0; v < 5 * w; v++) {
            if (v % w + 1 < w)
                tensor(&a, grid, v, v + 1, -1, 1);
            if (v + w < 5 * w)
                tensor(&a, grid, v, v + w, -1, 1);
        }
        cuts_are(&a, grid, (int)choose(5 + w, w)); // a product of chains: paths through a grid
    }
    arena_release(&a);
}

// The nodes of the problem that a cut holds.
static unsigned set_of(const Cuts *c, int cut)
{
    unsigned set = 0;
    for (int i = 0; i < c->core->n; i++)
        for (int k = c->core->members.first[i]; k < c->core->members.first[i + 1]; k++)
            if (cut_holds(c, cut, i))
                set |= 1u << c->core->members.items[k];
    return set;
}

static int size_of(const Cuts *c, int cut)
{
    int n = 0;
    for (int i = 0; i < c->core->n; i++)
        n += cut_holds(c, cut, i);
    return n;
}

static bool near(double x, double y)
{
    return fabs(x - y) <= 1e-12 * (1 + fabs(y));
}

static void check_sums(const Cuts *c, const Oracle *k, int cut)
{
    unsigned set = set_of(c, cut);
    assert_true(k->is_cut[set]);
    for (int f = 0; f < k->p->n_profiles; f++) {
        assert_true(near(c->compute[f][cut], k->compute[f][set]));
        assert_true(near(c->forward[f][cut], k->forward[f][set]));
    }
    assert_true(near(c->parameters[cut], k->parameters[set]));
    assert_true(near(c->activations[cut], k->activations[set]));
    assert_true(near(c->bytes[cut], k->crossing[set]));
    double least = 0;
    for (int i = 0; i < c->core->n; i++)
        least += cut_holds(c, cut, i) ? c->core->least[i] : 0;
    assert_true(near(c->least[cut], least));
}

// `above`: cuts that hold this one, and no third one lies between.
static void check_above(const Cuts *c, int cut)
{
    int n = 0;
    for (int other = 0; other < c->n; other++) {
        unsigned inner = set_of(c, cut), outer = set_of(c, other);
        assert_true(cut_within(c, cut, other) == !(inner & ~outer));
        bool covers = inner != outer && !(inner & ~outer);
        for (int i = 0; covers && i < c->n; i++) {
            unsigned middle = set_of(c, i);
            covers =
                (inner & ~middle) || (middle & ~outer) || middle == inner || middle == outer;
        }
        n += covers;
        int listed = 0;
        for (int i = c->above.first[cut]; i < c->above.first[cut + 1]; i++)
            listed += c->above.items[i] == other;
        assert_int_equal(listed, covers);
    }
    assert_int_equal(n, c->above.first[cut + 1] - c->above.first[cut]);
}

static void cuts_of_random_graphs_are_all_there_are(void **state)
{
    (void)state;
    Arena a = {0};
    CostOptions o = {.model = "stagecc"};
    for (int seed = 0; seed < 1000; seed++) {
        arena_reset(&a);
        Random r = {(uint64_t)seed};
        Problem *p = random_problem(&a, &r, random_int(&r, 1, 10), random_int(&r, 1, 3));
        Core core = core_of(&a, p);
        Cuts *c = cuts_all(&a, &core, MANY);
        Oracle *k = oracle_of(&a, p, random_alike(&a, &r, 1), &o);
        int n = 0;
        for (unsigned set = 0; set <= k->all; set++)
            n += k->is_cut[set];
        assert_int_equal(c->n, n);
        assert_int_equal(set_of(c, 0), 0);
        assert_int_equal(set_of(c, n - 1), k->all);
        for (int cut = 0; cut < n; cut++) {
            check_sums(c, k, cut);
            if (n <= 20)
                check_above(c, cut);
            if (cut)
                assert_true(size_of(c, cut - 1) <= size_of(c, cut));
            for (int other = 0; other < cut && n <= 100; other++)
                assert_true(set_of(c, other) != set_of(c, cut));
        }
    }
    arena_release(&a);
}

static void check_order(const Core *c, const int *order)
{
    int place[256];
    memset(place, -1, sizeof place);
    for (int i = 0; i < c->n; i++) {
        assert_in_range(order[i], 0, c->n - 1);
        assert_int_equal(place[order[i]], -1);
        place[order[i]] = i;
    }
    for (int v = 0; v < c->n; v++)
        for (int i = c->before.first[v]; i < c->before.first[v + 1]; i++)
            assert_true(place[c->before.items[i]] < place[v]);
}

static void orders_are_topological_and_their_cuts_true(void **state)
{
    (void)state;
    Arena a = {0};
    CostOptions o = {.model = "stagecc"};
    for (int seed = 0; seed < 300; seed++) {
        arena_reset(&a);
        Random r = {(uint64_t)seed};
        bool small = seed % 2;
        Problem *p = random_problem(&a, &r, small ? random_int(&r, 1, 10) : 200, 1);
        Core core = core_of(&a, p);
        Oracle *k = small ? oracle_of(&a, p, random_alike(&a, &r, 1), &o) : NULL;
        for (int rule = 0; rule < 2 * N_ORDER_RULES; rule++) {
            int *order = order_of(&a, &core, (OrderRule)(rule / 2), rule % 2, (uint64_t)seed);
            int *again = order_of(&a, &core, (OrderRule)(rule / 2), rule % 2, (uint64_t)seed);
            check_order(&core, order);
            assert_memory_equal(order, again, sizeof *order * (size_t)core.n);
            Cuts *c = cuts_of_order(&a, &core, order);
            assert_int_equal(c->n, core.n + 1);
            assert_false(c->all && core.n > 1);
            for (int cut = 0; small && cut < c->n; cut++) {
                check_sums(c, k, cut);
                check_above(c, cut);
            }
        }
    }
    arena_release(&a);
}

static void order_is(const Core *c, const int *order, const char *expected)
{
    for (int i = 0; i < c->n; i++)
        assert_int_equal(c->members.items[c->members.first[order[i]]], expected[i] - '0');
}

// 0 -> 1 -> 3 -> 5 and 0 -> 2 -> 4 -> 5: one branch after the other, side by side, or as is narrowest.
static void orders_follow_their_rules(void **state)
{
    (void)state;
    Arena a = {0};
    Problem *p = nodes(&a, 6);
    tensor(&a, p, 0, 1, 2, 10);
    tensor(&a, p, 1, 3, -1, 9);
    tensor(&a, p, 3, 5, -1, 8);
    tensor(&a, p, 2, 4, -1, 7);
    tensor(&a, p, 4, 5, -1, 1);
    Core c = core_of(&a, p);
    int *depth = order_of(&a, &c, ORDER_DEPTH, false, 0);
    int *breadth = order_of(&a, &c, ORDER_BREADTH, false, 0);
    bool left = c.members.items[c.members.first[depth[1]]] == 1;
    order_is(&c, depth, left ? "013245" : "024135");
    left = c.members.items[c.members.first[breadth[1]]] == 1;
    order_is(&c, breadth, left ? "012345" : "021435");
    // After 0 cross 10 bytes; 2 makes it 17, 1 would make it 19; then 4 drops it to 11.
    order_is(&c, order_of(&a, &c, ORDER_NARROW, false, 0), "024135");
    // From the end: 5 reads 8 and 1; 3 turns 8 into 9, 4 turns 1 into 7, so 3, then 1 (10 for 9) before 4.
    order_is(&c, order_of(&a, &c, ORDER_NARROW, true, 0), "024135");
    // 1 reads 0 for the last time and makes 12 of 10 bytes; 2 makes 5 more of it.
    p = nodes(&a, 4);
    tensor(&a, p, 0, 1, -1, 10);
    tensor(&a, p, 1, 3, -1, 12);
    tensor(&a, p, 2, 3, -1, 5);
    tensor(&a, p, 0, 2, -1, 0);
    c = core_of(&a, p);
    order_is(&c, order_of(&a, &c, ORDER_NARROW, false, 0), "0123");
    arena_release(&a);
}

static void pairs_join_all_between_them(void **state)
{
    (void)state;
    Arena a = {0};
    // 0 -> 1 -> 2 -> 3 and 0 -> 4 -> 3; 5 apart. 0 and 2 together: 1 too, 4 not.
    Problem *p = nodes(&a, 6);
    tensor(&a, p, 0, 1, 4, 10);
    tensor(&a, p, 1, 2, -1, 20);
    tensor(&a, p, 2, 3, -1, 30);
    tensor(&a, p, 4, 3, -1, 40);
    tensor(&a, p, 1, 2, 3, 50);
    p->together[p->n_together++] = (ProblemPair){2, 0};
    Core c = core_of(&a, p);
    assert_int_equal(c.n, 4);
    int joined = c.core_of[0];
    assert_int_equal(c.core_of[1], joined);
    assert_int_equal(c.core_of[2], joined);
    assert_int_equal(c.members.first[joined + 1] - c.members.first[joined], 3);
    assert_true(c.compute[0][joined] == 1 + 2 + 3);
    assert_true(c.parameters[joined] == 60);
    assert_true(joined < c.core_of[4] && c.core_of[4] < c.core_of[3]);
    // What stays inside is no tensor any more; 1's second one leaves for 3 alone.
    assert_int_equal(c.n_tensors, 4);
    assert_int_equal(c.makes.first[joined + 1] - c.makes.first[joined], 3);
    double bytes = 0;
    for (int i = c.makes.first[joined]; i < c.makes.first[joined + 1]; i++)
        bytes += c.bytes[c.makes.items[i]];
    assert_true(bytes == 10 + 30 + 50);
    // 4 is between 0 and 3, so joining these two leaves 5 alone.
    p->together[p->n_together++] = (ProblemPair){0, 3};
    c = core_of(&a, p);
    assert_int_equal(c.n, 2);
    assert_int_equal(c.n_tensors, 0);
    // Nodes that know nothing of each other can be one, too.
    Problem *apart = nodes(&a, 2);
    apart->together[apart->n_together++] = (ProblemPair){0, 1};
    assert_int_equal(core_of(&a, apart).n, 1);
    arena_release(&a);
}

static void check_moves(const Moves *k, int n_configs)
{
    assert_non_null(k);
    assert_int_equal(k->n_configs, n_configs);
    assert_int_equal(k->first[n_configs], k->n);
    for (int c = 0; c < n_configs; c++)
        for (int i = k->first[c]; i < k->first[c + 1]; i++) {
            assert_int_equal(k->items[i].from, c);
            assert_in_range(k->items[i].to, c + 1, n_configs - 1);
            assert_true(k->rest[c] >= k->rest[k->items[i].to]);
        }
}

static void moves_take_what_is_left(void **state)
{
    (void)state;
    Arena a = {0};
    int flat[] = {6}, levels[] = {2, 2};
    double bytes_per_s[] = {100, 10};
    CostOptions o = {.model = "stagecc", .schedule = "1f1b", .overlap = OVERLAP_TRANSFERS};
    Machines *m = machines_alike(&a, flat, bytes_per_s, 1);
    Moves *k = moves_of(&a, m, &o, MANY);
    check_moves(k, 7);
    assert_int_equal(k->n, 6 + 5 + 4 + 3 + 2 + 1);
    assert_true(k->exact && k->nested && k->full == 6);
    assert_null(moves_of(&a, m, &o, k->n - 1));
    o.straight = true;
    assert_int_equal(moves_of(&a, m, &o, MANY)->n, 6);
    o.straight = false;
    o.recompute = 2; // with and without
    assert_int_equal(moves_of(&a, m, &o, MANY)->n, 42);
    o.recompute = 0;
    MachineType types[] = {{.speed = 1}, {.speed = 2}};
    m->types = types;
    m->n_types = 2;
    m->type[0] = m->type[1] = 1; // two of these, four of those
    k = moves_of(&a, m, &o, MANY);
    check_moves(k, 3 * 5);
    assert_int_equal(
        k->n, 6 * 15 - 15); // of all pairs of counts, one below the other, the unequal ones
    types[1].profile = 1;   // and no stage on both
    assert_int_equal(moves_of(&a, m, &o, MANY)->n, 3 * (1 + 2 + 3 + 4) + 5 * (1 + 2));
    m = machines_alike(&a, levels, bytes_per_s, 2);
    k = moves_of(&a, m, &o, MANY);
    check_moves(k, 1 + 10);
    assert_false(k->exact);
    // In front of the last machine, its neighbour; or one of the other pair, by the link that pairs share.
    int within = 0, across = 0;
    for (int i = 0; i < k->n; i++) {
        const Move *move = &k->items[i];
        if (!move->from || move->replicas > 1)
            continue;
        if (move->first == 2) {
            assert_true(move->out_bytes == 2 / 100.0);
            within++;
        } else if (move->first == 1) {
            assert_true(move->out_bytes == 2 / 10.0);
            across++;
        }
    }
    assert_int_equal(within, 1); // behind: {3}
    assert_int_equal(across, 3); // {2}, {2, 3}, {3}
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_graphs_have_known_numbers_of_cuts),
        cmocka_unit_test(cuts_of_random_graphs_are_all_there_are),
        cmocka_unit_test(orders_are_topological_and_their_cuts_true),
        cmocka_unit_test(orders_follow_their_rules),
        cmocka_unit_test(pairs_join_all_between_them),
        cmocka_unit_test(moves_take_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
