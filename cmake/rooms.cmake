# One static library per room; the arrows of docs/architecture.md are the link lines.
set(PUBLIC_INCLUDE ${CMAKE_BINARY_DIR}/include)
function(public_header source name)
  configure_file(${CMAKE_SOURCE_DIR}/${source} ${PUBLIC_INCLUDE}/stagecc/${name} COPYONLY)
  install(FILES ${source} RENAME ${name} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/stagecc)
endfunction()
public_header(plan/stream.h stream.h)
file(GLOB RUNTIME_HEADERS RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS
     runtime/stage.h runtime/random.h runtime/bf16.h runtime/kernels/*.h
     runtime/cuda/*.h runtime/cuda/*.cuh)
foreach(header ${RUNTIME_HEADERS})
  get_filename_component(name ${header} NAME)
  public_header(${header} ${name})
endforeach()
file(GLOB MODEL_HEADERS RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS frontend/include/stagecc/*.h)
foreach(header ${MODEL_HEADERS})
  get_filename_component(name ${header} NAME)
  public_header(${header} ${name})
endforeach()

function(room name)
  cmake_parse_arguments(R "" "" "DIRS;LINK" ${ARGN})
  set(sources)
  foreach(dir ${R_DIRS})
    file(GLOB found CONFIGURE_DEPENDS ${dir}/*.c)
    list(APPEND sources ${found})
  endforeach()
  if(NOT sources) # a room that is still empty
    file(WRITE ${CMAKE_BINARY_DIR}/empty.c "extern int room_is_empty;\n")
    set(sources ${CMAKE_BINARY_DIR}/empty.c)
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ${R_LINK})
  target_include_directories(${name} PUBLIC ${PUBLIC_INCLUDE})
endfunction()

room(base DIRS base LINK m ${CMAKE_DL_LIBS})
room(ir DIRS ir LINK base)
room(plan DIRS plan plan/schedules LINK base PkgConfig::JANSSON)
room(frontend DIRS frontend frontend/layers frontend/clang frontend/profile LINK ir ${CMAKE_DL_LIBS})
target_compile_definitions(frontend PRIVATE STAGECC_LIBCLANG="${LIBCLANG}") # loaded when a model is read
target_include_directories(frontend SYSTEM PRIVATE ${LLVM_INCLUDE})
room(passes DIRS passes passes/planner LINK ir plan)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64") # their loops over lanes; same rounding as elsewhere
  set_source_files_properties(passes/planner/sweep.c passes/planner/narrow.c PROPERTIES
    COMPILE_OPTIONS "-march=x86-64-v3;-ffp-contract=off")
endif()
room(codegen DIRS codegen codegen/ref codegen/c codegen/cuda LINK ir plan)
set(CONTROL_DIRS control)
if(ZMQ_INCLUDE)
  list(APPEND CONTROL_DIRS control/zmq control/master control/worker)
endif()
if(MHD_INCLUDE)
  list(APPEND CONTROL_DIRS control/page)
endif()
room(control DIRS ${CONTROL_DIRS} LINK plan ${CMAKE_DL_LIBS})
if(ZMQ_INCLUDE)
  target_compile_definitions(control PUBLIC STAGECC_ZMQ)
  target_include_directories(control SYSTEM PRIVATE ${ZMQ_INCLUDE})
endif()
if(MHD_INCLUDE)
  target_compile_definitions(control PUBLIC STAGECC_PAGE)
  target_include_directories(control SYSTEM PRIVATE ${MHD_INCLUDE})
  set(PAGE_DIR ${CMAKE_SOURCE_DIR}/control/page)
  file(GLOB PAGE_FILES CONFIGURE_DEPENDS ${PAGE_DIR}/*.html ${PAGE_DIR}/*.css ${PAGE_DIR}/*.js)
  set_source_files_properties(control/page/html.c PROPERTIES
    COMPILE_DEFINITIONS "STAGECC_PAGE_DIR=\"${PAGE_DIR}\"" OBJECT_DEPENDS "${PAGE_FILES}")
endif()
# The runtime that stage programs link. The oneDNN bindings are a library of their own, so that a
# program of the ref backend needs nothing.
set(RUNTIME_DIRS runtime)
if(UCX_INCLUDE)
  list(APPEND RUNTIME_DIRS runtime/ucx)
endif()
room(stagecc-rt DIRS ${RUNTIME_DIRS} LINK PkgConfig::JANSSON Threads::Threads ${CMAKE_DL_LIBS} m)
if(UCX_INCLUDE)
  target_compile_definitions(stagecc-rt PUBLIC STAGECC_UCX)
  target_include_directories(stagecc-rt SYSTEM PRIVATE ${UCX_INCLUDE})
endif()
if(STAGECC_DNNL)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64") # called on processors only that have AVX-512
    set_source_files_properties(runtime/kernels/strassen.c PROPERTIES
      COMPILE_OPTIONS "-march=x86-64-v4;-mprefer-vector-width=512")
  endif()
  room(stagecc-rt-dnnl DIRS runtime/kernels LINK stagecc-rt ${DNNL_LIBRARY})
  if(OpenMP_C_FOUND)
    target_link_libraries(stagecc-rt-dnnl PUBLIC OpenMP::OpenMP_C)
  endif()
endif()
# Likewise of the cuda backend: its libraries are loaded, so headers of all of them are enough.
if(CUDART_INCLUDE AND CUBLASLT_INCLUDE AND CUDNN_INCLUDE)
  room(stagecc-rt-cuda DIRS runtime/cuda/card LINK stagecc-rt)
  target_include_directories(stagecc-rt-cuda SYSTEM PUBLIC ${CUDART_INCLUDE} ${CUBLASLT_INCLUDE} ${CUDNN_INCLUDE})
endif()
# The program that looks at devices (docs/devices.md), where there is what it links.
if(TARGET stagecc-rt-cuda AND CUDART_STATIC)
  add_executable(stagecc-card runtime/cuda/ceilings.c)
  target_link_libraries(stagecc-card PRIVATE stagecc-rt-cuda ${CUDART_STATIC} rt)
  install(TARGETS stagecc-card DESTINATION ${CMAKE_INSTALL_LIBEXECDIR})
endif()
# What programs of the cuda backend link where there is no device (docs/cuda.md).
room(stagecc-rt-emulated DIRS runtime/cuda/emulated LINK stagecc-rt)

# What `stagecc devices` starts on the hosts it measures; it lies beside stagecc or in libexec.
file(GLOB LINKS CONFIGURE_DEPENDS runtime/links/*.c)
add_executable(stagecc-links ${LINKS})
target_link_libraries(stagecc-links PRIVATE stagecc-rt)
install(TARGETS stagecc-links DESTINATION ${CMAKE_INSTALL_LIBEXECDIR})

# What `stagecc run --hostfile` starts on every host; `stagecc deploy` brings it there.
file(GLOB HOST CONFIGURE_DEPENDS control/host/*.c)
add_executable(stagecc-host ${HOST})
target_link_libraries(stagecc-host PRIVATE control)
install(TARGETS stagecc-host DESTINATION ${CMAKE_INSTALL_LIBEXECDIR})

file(GLOB DRIVER CONFIGURE_DEPENDS driver/*.c)
if(DRIVER)
  add_executable(stagecc ${DRIVER})
  target_link_libraries(stagecc PRIVATE frontend passes codegen control)
  target_compile_definitions(stagecc PRIVATE
    STAGECC_CC="${CMAKE_C_COMPILER}" STAGECC_LIBCLANG_VERSION="${LLVM_VERSION}"
    STAGECC_DNNL_VERSION="${DNNL_VERSION}" STAGECC_ZMQ_VERSION="${ZMQ_VERSION}"
    STAGECC_LIBDIR="${CMAKE_INSTALL_LIBDIR}" STAGECC_INCLUDEDIR="${CMAKE_INSTALL_INCLUDEDIR}"
    STAGECC_LIBEXECDIR="${CMAKE_INSTALL_LIBEXECDIR}")
  add_dependencies(stagecc stagecc-links stagecc-host)
  if(TARGET stagecc-card)
    add_dependencies(stagecc stagecc-card)
  endif()
  install(TARGETS stagecc)
endif()

if(STAGECC_TESTS)
  enable_testing()
  add_subdirectory(tests)
  add_subdirectory(bench)
endif()
