# The installed layout: stagecc, headers, the runtime libraries, a CMake package, pkg-config files.
set(PACKAGE_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
# RT_ABI in runtime/stage.h is the runtime's version: a program made for another one says so.
include(CMakePackageConfigHelpers)
set(STAGECC_RT_LIBS stagecc-rt stagecc-rt-emulated)
set(STAGECC_RT_PRIVATE "-ljansson -lpthread -lm")
if(TARGET stagecc-rt-cuda)
  list(APPEND STAGECC_RT_LIBS stagecc-rt-cuda)
endif()
if(TARGET stagecc-rt-dnnl)
  list(APPEND STAGECC_RT_LIBS stagecc-rt-dnnl)
endif()
if(TARGET stagecc-rt-cuda)
  list(APPEND STAGECC_RT_LIBS stagecc-rt-cuda)
endif()
install(TARGETS ${STAGECC_RT_LIBS} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
# Relative, so that a prefix may be moved or named at installation.
file(RELATIVE_PATH PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/stagecc.pc.in stagecc.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/stagecc.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_package_config_file(cmake/stageccConfig.cmake.in stageccConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stagecc PATH_VARS ${PACKAGE_VARS})
write_basic_package_version_file(stageccConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/stageccConfig.cmake ${CMAKE_BINARY_DIR}/stageccConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/stagecc)
# Where systemd looks for it if the prefix is /usr or /usr/local.
configure_file("cmake/stagecc-master@.service.in" "stagecc-master@.service" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/stagecc-master@.service" DESTINATION lib/systemd/system)
