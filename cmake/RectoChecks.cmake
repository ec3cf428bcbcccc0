# SPDX-License-Identifier: BSD-3-Clause
#
# What Recto needs of the MPI and the HDF5 that were found, said before it is built.

if(MPI_C_VERSION AND MPI_C_VERSION VERSION_LESS 3.0)
  message(FATAL_ERROR "Recto needs MPI 3.0 (one-sided operations, shared memory of a "
                      "node); ${MPI_C_COMPILER} gives MPI ${MPI_C_VERSION}")
endif()
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "Recto needs a parallel HDF5 (built with MPI); found the "
                      "serial one in ${HDF5_INCLUDE_DIRS}. Debian: "
                      "libhdf5-openmpi-dev; elsewhere set HDF5_ROOT")
endif()

if(HDF5_VERSION AND HDF5_VERSION VERSION_LESS 1.10.5)
  message(FATAL_ERROR "Recto needs HDF5 1.10.5 or later (H5Dget_chunk_info_by_coord); "
                      "found ${HDF5_VERSION} in ${HDF5_INCLUDE_DIRS}")
endif()

# recto_needed(FILE EXPRESSION RESULT): those libraries that FILE was linked with, or its
# own name, that match.
function(recto_needed file expression result)
  execute_process(COMMAND ${CMAKE_READELF} -d ${file} OUTPUT_VARIABLE text
                  ERROR_QUIET)
  string(REGEX MATCHALL "\\[${expression}\\]" names "${text}")
  list(REMOVE_DUPLICATES names)
  set(${result} ${names} PARENT_SCOPE)
endfunction()

# Two MPI libraries in one process end in crashes that say nothing.
set(mpi_of_recto)
foreach(file IN LISTS MPI_C_LIBRARIES)
  recto_needed(${file} "libmpi(ch|)\\.so\\.[0-9]+" names)
  list(APPEND mpi_of_recto ${names})
endforeach()
foreach(file IN LISTS HDF5_C_LIBRARIES)
  if(file MATCHES "hdf5[^/]*\\.so")
    recto_needed(${file} "libmpi(ch|)\\.so\\.[0-9]+" names)
    foreach(name IN LISTS names)
      if(mpi_of_recto AND NOT name IN_LIST mpi_of_recto)
        message(FATAL_ERROR
                "${file} was built with another MPI, ${name}, than the one found, "
                "${mpi_of_recto}. Set HDF5_ROOT (or HDF5_C_COMPILER_EXECUTABLE to its "
                "h5pcc) to the HDF5 of that MPI, or MPI_C_COMPILER to the MPI of that HDF5")
      endif()
    endforeach()
  endif()
endforeach()

# ---- where installed programs look for libraries ------------------------------------
# As the user says (Spack does). Else in the library folder beside them, and, unless the
# loader finds them there anyway, where the libraries were that they were linked with.

# recto_loader_finds(FILE RESULT): whether one of the system's folders has that library.
function(recto_loader_finds file result)
  set(${result} TRUE PARENT_SCOPE)
  execute_process(COMMAND ${CMAKE_READELF} -d ${file} OUTPUT_VARIABLE text
                  ERROR_QUIET)
  if(text MATCHES "SONAME[^[]*\\[([^]]+)\\]")
    set(name ${CMAKE_MATCH_1})
    foreach(folder IN LISTS CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
      if(EXISTS ${folder}/${name})
        return()
      endif()
    endforeach()
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

if(NOT DEFINED CMAKE_INSTALL_RPATH)
  set(CMAKE_INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR})
  if(NOT DEFINED CMAKE_INSTALL_RPATH_USE_LINK_PATH)
    foreach(file IN LISTS MPI_C_LIBRARIES HDF5_C_LIBRARIES HWLOC_LINK_LIBRARIES
            XXHASH_LINK_LIBRARIES LZ4_LINK_LIBRARIES ZSTD_LINK_LIBRARIES
            ISAL_LINK_LIBRARIES ZLIB_LINK_LIBRARIES)
      recto_loader_finds(${file} found)
      if(NOT found)
        set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
      endif()
    endforeach()
  endif()
endif()
