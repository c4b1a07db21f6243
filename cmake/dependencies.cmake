# Dependencies, and for each what to install when it is missing.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
find_package(OpenMP COMPONENTS C)
find_package(Threads REQUIRED)

# libclang: any version from 17 on (clang_getCursorBinaryOperatorKind); the newest that is found.
find_program(LLVM_CONFIG NAMES llvm-config-20 llvm-config-19 llvm-config-18 llvm-config-17 llvm-config)
if(LLVM_CONFIG)
  execute_process(COMMAND ${LLVM_CONFIG} --version OUTPUT_VARIABLE LLVM_VERSION OUTPUT_STRIP_TRAILING_WHITESPACE)
  execute_process(COMMAND ${LLVM_CONFIG} --includedir OUTPUT_VARIABLE LLVM_INCLUDE OUTPUT_STRIP_TRAILING_WHITESPACE)
  execute_process(COMMAND ${LLVM_CONFIG} --libdir OUTPUT_VARIABLE LLVM_LIBDIR OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX MATCH "^[0-9]+" LLVM_MAJOR "${LLVM_VERSION}")
  find_library(LIBCLANG_FOUND NAMES clang-${LLVM_MAJOR} clang PATHS ${LLVM_LIBDIR} NO_DEFAULT_PATH)
  get_filename_component(LIBCLANG "${LIBCLANG_FOUND}" REALPATH) # the name that a program has to load
endif()
if(NOT LIBCLANG_FOUND OR NOT EXISTS ${LLVM_INCLUDE}/clang-c/Index.h OR LLVM_VERSION VERSION_LESS 17)
  message(FATAL_ERROR "libclang 17 or newer is needed to read models: apt-get install libclang-19-dev llvm-19-dev (or run tools/setup)")
endif()

# NAME_VERSION as a header defines its three numbers.
function(version_of name header)
  file(STRINGS ${header} numbers REGEX "define ${name}_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX REPLACE "[^0-9]+([0-9]+)" "\\1." version "${numbers}")
  string(REGEX REPLACE "[.]$" "" version "${version}")
  set(${name}_VERSION ${version} PARENT_SCOPE)
endfunction()

# oneDNN (version 2): the C backend's library kernels.
find_path(DNNL_INCLUDE dnnl.h)
find_library(DNNL_LIBRARY dnnl)
if(DNNL_INCLUDE AND DNNL_LIBRARY)
  set(STAGECC_DNNL ON)
  version_of(DNNL ${DNNL_INCLUDE}/oneapi/dnnl/dnnl_version.h)
endif()
# UCX: messages between hosts. Programs load it when they need it, so its headers are enough here.
find_path(UCX_INCLUDE ucp/api/ucp.h)
# ZeroMQ: keys, and what the master and its workers say to each other. Loaded likewise.
find_path(ZMQ_INCLUDE zmq.h)
if(ZMQ_INCLUDE)
  version_of(ZMQ ${ZMQ_INCLUDE}/zmq.h)
endif()
# libmicrohttpd: the master's status page. Loaded likewise.
find_path(MHD_INCLUDE microhttpd.h)
find_program(DOT dot)
