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

# oneDNN (version 2): the C backend's library kernels.
find_path(DNNL_INCLUDE dnnl.h)
find_library(DNNL_LIBRARY dnnl)
if(DNNL_INCLUDE AND DNNL_LIBRARY)
  set(STAGECC_DNNL ON)
  file(STRINGS ${DNNL_INCLUDE}/oneapi/dnnl/dnnl_version.h numbers REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH)")
  string(REGEX REPLACE "[^0-9]+([0-9]+)" "\\1." DNNL_VERSION "${numbers}")
  string(REGEX REPLACE "[.]$" "" DNNL_VERSION "${DNNL_VERSION}")
endif()
# UCX: messages between hosts. Programs load it when they need it, so its headers are enough here.
find_path(UCX_INCLUDE ucp/api/ucp.h)
find_program(DOT dot)
find_program(NVCC nvcc PATHS /usr/local/cuda/bin)
