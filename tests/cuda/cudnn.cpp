// cuDNN's graph API for programs that have no card: engine 0, without knobs, computes what a graph means (cudnn_graph.h), and
// convolutions of floats have engine 1 in front of it, which has tensor cores' note and their bits in tf32;
// with FAKE_CUDNN_MS="3,1,2" there are engines 10, 11 and 12 instead, which take so many milliseconds: the one that FAKE_CUDNN_UNSTEADY
// names gives other bits each time, that of FAKE_CUDNN_LARGE wants 256 MiB of workspace.
// With FAKE_CUDNN_LACKS=products it does not know products of matrices; with FAKE_CUDNN_UNCAPTURED=1 it cannot be captured.
// Programs find it by STAGECC_CUDA_LIBS. On the device of cudart.cpp it runs when that does, else at once.
#include "tests/cuda/cudnn_graph.h"
#include "tests/cuda/fake_choice.h"

#include <dlfcn.h>
#include <stdlib.h>

struct cudnnContext {
    cudaStream_t stream;
};

extern "C" {

size_t cudnnGetVersion()
{
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t)
{
    return "of this test";
}

void cudnnGetLastErrorString(char *message, size_t n)
{
    if (n)
        *message = '\0';
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = new cudnnContext();
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *d)
{
    Ref node(new Node());
    node->type = type;
    *d = (cudnnBackendDescriptor_t) new Ref(node);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    delete (Ref *)d;
    return CUDNN_STATUS_SUCCESS;
}

static size_t size_of(cudnnBackendAttributeType_t type)
{
    switch ((int)type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR: return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_HANDLE: return 8;
    }
    return 4; // enums
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n,
                                       const void *values)
{
    Node &node = node_of(d);
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        std::vector<Ref> &refs = node.nodes[name];
        refs.clear();
        for (int64_t i = 0; i < n; i++)
            refs.push_back(*((Ref *const *)values)[i]);
        return CUDNN_STATUS_SUCCESS;
    }
    const uint8_t *bytes = (const uint8_t *)values;
    node.values[name].assign(bytes, bytes + (size_t)n * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}

static bool has_cores(const Node &graph)
{
    const Node &op = *graph.nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).at(0);
    const int types[] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                         CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                         CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR};
    const Conv convs[] = {forward, grad_x, grad_w};
    for (int i = 0; i < 3; i++)
        if (op.type == types[i])
            return Shape(op.node(convs[i].w)).type == CUDNN_DATA_FLOAT;
    return false;
}

enum { FIRST_TIMED = 10, WORKSPACE = 512 };

// Those that heuristics name, in their order.
static std::vector<int64_t> engines_of(const Node &graph)
{
    std::vector<int64_t> engines;
    const int64_t timed = (int64_t)fake_times("FAKE_CUDNN_MS").size();
    for (int64_t i = 0; i < timed; i++)
        engines.push_back(FIRST_TIMED + i);
    if (!timed && has_cores(graph))
        engines.push_back(1);
    if (!timed)
        engines.push_back(0);
    return engines;
}

static bool has_engine(const Node &graph, int64_t index)
{
    for (int64_t engine : engines_of(graph))
        if (engine == index)
            return true;
    return false;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
    const Node &n = node_of(d);
    bool good = true;
    if (n.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
        good = fits(n, forward);
    if (n.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
        good = fits(n, grad_x);
    if (n.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
        good = fits(n, grad_w);
    if (n.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR)
        good = has_engine(n.node(CUDNN_ATTR_ENGINE_OPERATION_GRAPH),
                          n.one<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
    if (n.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) // its JSON says nothing
        good = n.has(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
    return good ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM;
}

static bool lacks(const Node &graph)
{
    const char *what = getenv("FAKE_CUDNN_LACKS");
    if (!what || strcmp(what, "products"))
        return false;
    for (const Ref &op : graph.nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS))
        if (op->type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
            return true;
    return false;
}

static int64_t engine_of_plan(const Node &plan)
{
    return plan.node(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
        .node(CUDNN_ATTR_ENGINECFG_ENGINE)
        .one<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
}

static int64_t workspace_of_plan(const Node &plan)
{
    const int64_t engine = engine_of_plan(plan);
    if (fake_is("FAKE_CUDNN_LARGE", engine))
        return INT64_C(1) << 28;
    return engine < FIRST_TIMED ? WORKSPACE : 0;
}

// Whatever is tensor 3 of a call, result or not.
static void work_unsteadily(void *user)
{
    static uint8_t calls;
    work_off(user);
    *(uint8_t *)((Run *)user)->at.at(3) += ++calls;
}

static void suggest(const Node &heuristics, int64_t index, cudnnBackendDescriptor_t config)
{
    const uint8_t *bytes = (const uint8_t *)&index;
    Ref engine(new Node());
    engine->type = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    engine->values[CUDNN_ATTR_ENGINE_GLOBAL_INDEX].assign(bytes, bytes + sizeof index);
    engine->nodes[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] =
        heuristics.nodes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    node_of(config).nodes[CUDNN_ATTR_ENGINECFG_ENGINE] = {engine};
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const d,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t, int64_t *n,
                                       void *values)
{
    const Node &node = node_of(d);
    *n = 1;
    switch ((int)name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: { // a configuration, its engine, the engine's graph
        if (lacks(node.node(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH))) {
            *n = 0;
            return CUDNN_STATUS_SUCCESS;
        }
        const std::vector<int64_t> engines =
            engines_of(node.node(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
        for (size_t i = 0; i < engines.size(); i++)
            suggest(node, engines[i], ((cudnnBackendDescriptor_t *)values)[i]);
        *n = (int64_t)engines.size();
        return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        node_of(*(cudnnBackendDescriptor_t *)values) = node.node(name);
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES: *n = 0; return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *n = node.one<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX) == 1;
        *(cudnnBackendNumericalNote_t *)values = CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *(int64_t *)values = node.one<int64_t>(name);
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)values = workspace_of_plan(node);
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION:
        *n = 2;
        if (values)
            memcpy(values, "{}", 2);
        return CUDNN_STATUS_SUCCESS;
    }
    return CUDNN_STATUS_NOT_SUPPORTED;
}

// Those that a call has to bring, by their number.
static std::map<int64_t, Ref> real_tensors(const Node &graph)
{
    std::map<int64_t, Ref> real;
    for (const Ref &op : graph.nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS))
        for (const auto &used : op->nodes)
            for (const Ref &tensor : used.second)
                if (tensor->type == CUDNN_BACKEND_TENSOR_DESCRIPTOR &&
                    !tensor->flag(CUDNN_ATTR_TENSOR_IS_VIRTUAL))
                    real[tensor->one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)] = tensor;
    return real;
}

// What is wrong with a call: each real tensor once and no others, aligned as it was said, and a workspace where one is wanted.
static cudnnStatus_t check_pack(const Node &graph, const Node &pack, int64_t workspace_bytes)
{
    std::map<int64_t, Ref> real = real_tensors(graph);
    const Index numbers = pack.all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const std::vector<void *> at = pack.all<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    if (numbers.size() != real.size() || at.size() != real.size())
        return CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT;
    for (size_t i = 0; i < at.size(); i++) {
        auto tensor = real.find(numbers[i]);
        if (tensor == real.end())
            return CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES;
        if (!at[i])
            return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
        const int64_t alignment =
            tensor->second->one<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
        if (alignment < 1 || (uintptr_t)at[i] % (uintptr_t)alignment)
            return CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER;
        real.erase(tensor);
    }
    const bool room = pack.one<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    return !workspace_bytes || room ? CUDNN_STATUS_SUCCESS
                                    : CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
}

// Only the device of cudart.cpp captures.
static bool is_captured(cudaStream_t stream)
{
    typedef cudaError_t Ask(cudaStream_t, cudaStreamCaptureStatus *);
    static Ask *ask = (Ask *)dlsym(RTLD_DEFAULT, "cudaStreamIsCapturing");
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    return ask && !ask(stream, &status) && status != cudaStreamCaptureStatusNone;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    static FakeLater *later = (FakeLater *)dlsym(RTLD_DEFAULT, "cu_host_later");
    const Node &engine = node_of(plan)
                             .node(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
                             .node(CUDNN_ATTR_ENGINECFG_ENGINE);
    const cudnnStatus_t wrong = check_pack(engine.node(CUDNN_ATTR_ENGINE_OPERATION_GRAPH),
                                           node_of(pack), workspace_of_plan(node_of(plan)));
    if (wrong)
        return wrong;
    if (fake_is("FAKE_CUDNN_UNCAPTURED", 1) && is_captured(handle->stream))
        return CUDNN_STATUS_NOT_SUPPORTED;
    Run *run = new Run();
    run->graph = engine.nodes.at(CUDNN_ATTR_ENGINE_OPERATION_GRAPH).at(0);
    if (engine_of_plan(node_of(plan)) < FIRST_TIMED)
        run->workspace = node_of(pack).one<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    run->workspace_bytes = WORKSPACE;
    run->tf32 = engine.one<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX) == 1;
    const Index numbers = node_of(pack).all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const std::vector<void *> at =
        node_of(pack).all<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    for (size_t i = 0; i < numbers.size(); i++)
        run->at[numbers[i]] = at[i];
    // Scalars are read now, as by the library.
    for (const Ref &op : run->graph->nodes.at(CUDNN_ATTR_OPERATIONGRAPH_OPS))
        for (const auto &used : op->nodes)
            if (used.second[0]->flag(CUDNN_ATTR_TENSOR_IS_BY_VALUE)) {
                const int64_t number =
                    used.second[0]->one<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
                run->scalars[number] = *(const float *)run->at.at(number);
            }
    if (later) {
        const int64_t number = engine_of_plan(node_of(plan));
        later(handle->stream,
              fake_is("FAKE_CUDNN_UNSTEADY", number) ? work_unsteadily : work_off, drop, run);
        if (number >= FIRST_TIMED)
            fake_take(later, handle->stream,
                      fake_times("FAKE_CUDNN_MS").at((size_t)(number - FIRST_TIMED)) - 1);
        return CUDNN_STATUS_SUCCESS;
    }
    work_off(run);
    drop(run);
    return CUDNN_STATUS_SUCCESS;
}
}
