# SPDX-License-Identifier: BSD-3-Clause
#
# What is installed, and the packages made of it. Nothing that is installed names the
# folder that it was built or is installed in, but for the RPATH that a user asked for:
# the tree may be moved.
#
#   component runtime   librecto.so.0, the commands, module files: package `recto`
#   component dev       headers, librecto.so and .a, CMake and pkg-config files,
#                       examples, documentation: package `recto-dev`
#
# find_package(recto) reads cmake/package/recto-config.cmake.in, and of the files
# recto-NAME-targets.cmake beside it those that are there.
include(CMakePackageConfigHelpers)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/recto)

# recto_install_target(TARGET NAME): a library or command, in the package recto::NAME.
function(recto_install_target target name)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  install(
    TARGETS ${target}
    EXPORT recto-${name}
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime
            NAMELINK_COMPONENT dev
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
  install(EXPORT recto-${name} NAMESPACE recto:: COMPONENT dev
          DESTINATION ${config_folder} FILE recto-${name}-targets.cmake)
endfunction()

# recto_way_up(FOLDER RESULT): from a folder below the prefix to the prefix, as "../..".
function(recto_way_up folder result)
  string(REGEX REPLACE "[^/]+" ".." up ${folder})
  set(${result} ${up} PARENT_SCOPE)
endfunction()

# ---- libraries, commands, headers ------------------------------------------------------

if(BUILD_SHARED_LIBS)
  recto_install_target(recto shared)
endif()
if(RECTO_STATIC OR NOT BUILD_SHARED_LIBS)
  recto_install_target(recto_archive static)
endif()
recto_install_target(recto_interface interface)
if(TARGET recto_fortran)
  recto_install_target(recto_fortran fortran)
endif()
if(TARGET recto_command)
  recto_install_target(recto_command command)
  install(TARGETS recto_files recto_probe DESTINATION ${CMAKE_INSTALL_BINDIR}
          COMPONENT runtime)
endif()
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
        FILES_MATCHING PATTERN "*.h")

# ---- completion, gdb, suppressions -----------------------------------------------------

install(FILES src/share/completions/recto.bash RENAME recto COMPONENT runtime
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES src/share/completions/_recto COMPONENT runtime
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES src/share/completions/recto.fish COMPONENT runtime
        DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(DIRECTORY src/share/recto COMPONENT runtime
        DESTINATION ${CMAKE_INSTALL_DATADIR})

# ---- find_package ----------------------------------------------------------------------

# The MPI that the library was made for: programs must have the same.
set(mpi_macro OPEN_MPI)
foreach(folder IN LISTS MPI_C_INCLUDE_DIRS)
  if(EXISTS ${folder}/mpi.h)
    file(STRINGS ${folder}/mpi.h line REGEX "^ *# *define +(MPICH_VERSION|OPEN_MPI) ")
    if(line MATCHES "MPICH_VERSION")
      set(mpi_macro MPICH_VERSION)
    endif()
  endif()
endforeach()
configure_package_config_file(
  cmake/package/recto-config.cmake.in ${PROJECT_BINARY_DIR}/package/recto-config.cmake
  INSTALL_DESTINATION ${config_folder} NO_SET_AND_CHECK_MACRO)
# Until 1.0 a minor version may change the interface.
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/package/recto-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/recto-config.cmake
              ${PROJECT_BINARY_DIR}/package/recto-config-version.cmake
        DESTINATION ${config_folder} COMPONENT dev)

# ---- pkg-config ------------------------------------------------------------------------

# Modules rather than paths, where HDF5 and MPI have modules of that version.
set(pc_requires "hwloc >= 2, libxxhash, liblz4, libzstd, libisal, zlib")
set(pc_libraries "-ldl -lpthread -lm")
set(hdf5_modules hdf5-openmpi hdf5)
set(mpi_modules ompi-c ompi)
if(mpi_macro STREQUAL "MPICH_VERSION")
  set(hdf5_modules hdf5-mpich hdf5)
  set(mpi_modules mpich)
endif()
# The module whose folder of headers is the one found.
function(recto_pc_choose modules folders library)
  foreach(module IN LISTS modules)
    execute_process(COMMAND ${PKG_CONFIG_EXECUTABLE} --cflags-only-I ${module}
                    OUTPUT_VARIABLE flags ERROR_QUIET RESULT_VARIABLE failed)
    foreach(folder IN LISTS folders)
      get_filename_component(real ${folder} REALPATH)
      if(NOT failed AND flags MATCHES "-I(${folder}|${real})/?[ \n]")
        set(pc_requires "${pc_requires}, ${module}" PARENT_SCOPE)
        return()
      endif()
    endforeach()
  endforeach()
  set(pc_libraries "${library} ${pc_libraries}" PARENT_SCOPE)
endfunction()
recto_pc_choose("${mpi_modules}" "${MPI_C_INCLUDE_DIRS}" -lmpi)
recto_pc_choose("${hdf5_modules}" "${HDF5_INCLUDE_DIRS}" -lhdf5)
set(pc_folder ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
recto_way_up(${pc_folder} pc_prefix)
# recto_pc(NAME LIBRARY REQUIRES LIBRARIES REQUIRES-PRIVATE LIBRARIES-PRIVATE)
function(recto_pc pc_name pc_library pc_requires pc_libraries pc_requires_private
         pc_libraries_private)
  set(file ${PROJECT_BINARY_DIR}/package/${pc_name}.pc)
  configure_file(cmake/package/recto.pc.in ${file} @ONLY)
  install(FILES ${file} DESTINATION ${pc_folder} COMPONENT dev)
endfunction()
# `pkg-config --static` is for programs that are static as a whole; the module
# recto-static takes librecto.a and nothing else so.
if(BUILD_SHARED_LIBS)
  recto_pc(recto -lrecto "" "" "${pc_requires}" "${pc_libraries}")
else()
  recto_pc(recto -lrecto "${pc_requires}" "${pc_libraries}" "" "")
endif()
if(RECTO_STATIC OR NOT BUILD_SHARED_LIBS)
  recto_pc(recto-static -l:librecto.a "${pc_requires}" "${pc_libraries}" "" "")
endif()

# ---- module files, documentation ---------------------------------------------------------

set(module_folder ${CMAKE_INSTALL_DATADIR}/modulefiles/recto)
recto_way_up(${module_folder} module_prefix)
foreach(suffix "" .lua)
  configure_file(cmake/package/modulefile${suffix}.in
                 ${PROJECT_BINARY_DIR}/package/${PROJECT_VERSION}${suffix} @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${PROJECT_VERSION}${suffix}
          DESTINATION ${module_folder} COMPONENT runtime)
endforeach()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
if(RECTO_DOCS)
  install(FILES README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR}
          COMPONENT dev)
  install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT dev
          USE_SOURCE_PERMISSIONS)
  include(RectoDocs)
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/apps/examples/CMakeLists.txt)
  install(DIRECTORY apps/examples/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples
          COMPONENT dev USE_SOURCE_PERMISSIONS)
endif()

# ---- packages -----------------------------------------------------------------------------

set(CPACK_PACKAGE_NAME recto)
set(CPACK_PACKAGE_VENDOR Recto)
set(CPACK_PACKAGE_CONTACT "The Recto authors <recto@localhost>")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL runtime dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME recto)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME recto-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(mpi_launcher openmpi-bin)
set(mpi_packages "libopenmpi-dev, libhdf5-openmpi-dev")
if(mpi_macro STREQUAL "MPICH_VERSION")
  set(mpi_launcher mpich)
  set(mpi_packages "libmpich-dev, libhdf5-mpich-dev")
endif()
string(CONCAT CPACK_DEBIAN_DEV_PACKAGE_DEPENDS
  "recto (= ${PROJECT_VERSION}), ${mpi_packages}, libhwloc-dev, libxxhash-dev, "
  "liblz4-dev, libzstd-dev, libisal-dev, zlib1g-dev")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS ${mpi_launcher})
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION
    "The ranks of an MPI program share one address space, kept coherent by page
faults and saved in incremental checkpoints. The library and the commands.")
set(CPACK_COMPONENT_DEV_DESCRIPTION
    "Headers, static library, CMake package, pkg-config files, documentation.")
include(CPack)
