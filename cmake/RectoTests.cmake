# SPDX-License-Identifier: BSD-3-Clause
#
# How tests are declared. Every test has a time limit, exits 77 with the reason
# as its last line when it cannot run here, and has labels:
#   unit mpi crash model apps lint   what it is; none of these may skip in CI
#   cluster                     several nodes on one machine; skipped without root
#   ci                          run by `./quickstart test`
#   long                        the full products, ci's part of them included
#   asan, tsan                  also run in the build with that sanitizer
#
# Tests run in build/X/mpi-tests/work/NAME, made anew each time.

set(RECTO_TEST_WORK ${CMAKE_CURRENT_BINARY_DIR}/work)
set(RECTO_MPIRUN ${PROJECT_SOURCE_DIR}/cmake/mpirun-test)
# MPI and its libraries keep memory until exit; a fault must reach our handler.
# ThreadSanitizer sets handlers before it has started, and would call our sigaction.
set(RECTO_TSAN_HANDLERS handle_segv=0:handle_sigbus=0:handle_abort=0)
string(APPEND RECTO_TSAN_HANDLERS
       ":handle_sigfpe=0:handle_sigill=0:handle_sigtrap=0")
set(RECTO_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0"
    "UBSAN_OPTIONS=print_stacktrace=1"
    "TSAN_OPTIONS=${RECTO_TSAN_HANDLERS}:suppressions=${PROJECT_SOURCE_DIR}/src/share/recto/tsan.supp"
    "TEST_SOURCE=${PROJECT_SOURCE_DIR}"
    "TEST_BUILD=${PROJECT_BINARY_DIR}"
    "TEST_MPIRUN=${RECTO_MPIRUN}")
include(RectoClusterTests)

# A processor of ctest's stands for two ranks, as these wait much: `ctest -j 2` starts a
# test of 3 ranks alone. (quickstart says twice as many as there are.)
function(recto_test_properties name ranks timeout labels env)
  math(EXPR processors "(${ranks} + 1) / 2")
  set_tests_properties(
    ${name}
    PROPERTIES TIMEOUT ${timeout}
               SKIP_RETURN_CODE 77
               PROCESSORS ${processors}
               LABELS "${labels}"
               ENVIRONMENT "${RECTO_TEST_ENVIRONMENT};${env}")
endfunction()

# recto_test_program(NAME SOURCES file... [WHOLE]): an executable against
# librecto or, WHOLE, against all its objects, hidden symbols included.
function(recto_test_program name)
  cmake_parse_arguments(PARSE_ARGV 1 A "WHOLE" "" "SOURCES")
  add_executable(${name} ${A_SOURCES})
  if(A_WHOLE)
    target_link_libraries(${name} PRIVATE recto_flags recto_objects)
    # Calls that libraries make are interposed as they are by librecto.
    set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
  else()
    target_link_libraries(${name} PRIVATE recto_flags recto::recto
                                          Threads::Threads m)
  endif()
  set_target_properties(
    ${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
                       ${PROJECT_BINARY_DIR}/mpi-tests)
endfunction()

# recto_unit_test(NAME file... [TIMEOUT s] [ENV VAR=value...] [LABELS l...]):
# one process, written with Check; test unit.NAME.
function(recto_unit_test name)
  cmake_parse_arguments(PARSE_ARGV 1 A "" "TIMEOUT" "ENV;LABELS")
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 120)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS ci long asan tsan)
  endif()
  recto_test_program(unit_${name} WHOLE SOURCES ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(unit_${name} PRIVATE PkgConfig::CHECK)
  add_test(NAME unit.${name} COMMAND unit_${name})
  recto_test_properties(unit.${name} 1 ${A_TIMEOUT} "unit;${A_LABELS}"
                        "CK_DEFAULT_TIMEOUT=60;${A_ENV}")
endfunction()

# recto_unit_again(NAME SUFFIX VAR=value...): the unit test NAME once more in
# another environment; test unit.NAME.SUFFIX.
function(recto_unit_again name suffix)
  set(timeout 120)
  if(unit_${name}_TIMEOUT)
    set(timeout ${unit_${name}_TIMEOUT})
  endif()
  add_test(NAME unit.${name}.${suffix} COMMAND unit_${name})
  recto_test_properties(unit.${name}.${suffix} 1 ${timeout}
                        "unit;ci;long;asan" "CK_DEFAULT_TIMEOUT=60;${ARGN}")
endfunction()

# The program of a source file, made at its first use.
function(recto_test_program_of source target)
  get_filename_component(stem ${source} NAME_WE)
  if(NOT TARGET mpi_${stem})
    recto_test_program(mpi_${stem} SOURCES ${source})
  endif()
  set(${target} mpi_${stem} PARENT_SCOPE)
endfunction()

# recto_mpi_test(NAME SOURCE file RANKS n... [ARGS a...] [ENV VAR=value...]
#                [LABELS l...] [TIMEOUT s] [CLUSTER]):
# a program against librecto on each number of ranks; tests NAME.nRANKS. CLUSTER: over
# nodes, too.
function(recto_mpi_test name)
  cmake_parse_arguments(PARSE_ARGV 1 A "CLUSTER" "SOURCE;TIMEOUT"
                        "RANKS;ARGS;ENV;LABELS")
  recto_test_program_of(${A_SOURCE} program)
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS mpi ci long)
  endif()
  if(A_CLUSTER)
    recto_cluster_note(single ${name} TIMEOUT ${A_TIMEOUT} ENV ${A_ENV}
                       COMMAND $<TARGET_FILE:${program}> ${A_ARGS})
  endif()
  foreach(ranks IN LISTS A_RANKS)
    set(test ${name}.n${ranks})
    add_test(NAME ${test} COMMAND ${RECTO_MPIRUN} ${RECTO_TEST_WORK}/${test}
                                  ${ranks} $<TARGET_FILE:${program}> ${A_ARGS})
    recto_test_properties(${test} ${ranks} ${A_TIMEOUT} "${A_LABELS}"
                          "${A_ENV}")
  endforeach()
endfunction()

# recto_mpi_product(NAME SOURCE file [RANKS n...] [NODES v...]
#                   [TRANSPORTS v...] [LABELS l...] [ASAN] [TSAN n...] [ARGS a...]
#                   [ENV VAR=value...] [TIMEOUT s] [ONE_MACHINE | CLUSTER_ARGS a...]):
# the product of ranks (1 to 8), RECTO_NODE, RECTO_TRANSPORT and back ends (auto, or
# mprotect with write tracking by faults), all labelled `long`; of these a part in
# which every pair of values occurs, without 5, 6 and 8 ranks, is labelled `ci`:
# each pair of ranks and node once, transports and back ends taking turns. With ASAN the
# tests of 2 and 3 ranks in that part are run in the asan build, too, with TSAN
# those of n domains in the tsan build.
# Tests NAME.nRANKS.NODE.TRANSPORT.VM; over nodes, but for ONE_MACHINE, see
# RectoClusterTests.cmake, cluster.NAME.NODESxRANKS.NODE.TRANSPORT.VM.
function(recto_mpi_product name)
  cmake_parse_arguments(PARSE_ARGV 1 A "ASAN;ONE_MACHINE" "SOURCE;TIMEOUT"
                        "TSAN;RANKS;NODES;TRANSPORTS;LABELS;ARGS;ENV;CLUSTER_ARGS")
  recto_test_program_of(${A_SOURCE} program)
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  if(NOT A_RANKS)
    set(A_RANKS 1 2 3 4 7 5 6 8)
  endif()
  if(NOT A_NODES)
    set(A_NODES auto rank 2)
  endif()
  if(NOT A_TRANSPORTS)
    set(A_TRANSPORTS auto mpi)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS mpi)
  endif()
  if(NOT A_ONE_MACHINE)
    set(arguments ${A_ARGS})
    if(A_CLUSTER_ARGS)
      set(arguments ${A_CLUSTER_ARGS})
    endif()
    recto_cluster_note(product ${name} TIMEOUT ${A_TIMEOUT} ENV ${A_ENV}
                       COMMAND $<TARGET_FILE:${program}> ${arguments})
  endif()
  set(in_ci 1 2 3 4 7)
  set(vms auto mprotect)
  list(LENGTH A_TRANSPORTS turns)
  set(i 0)
  foreach(ranks IN LISTS A_RANKS)
    set(j 0)
    foreach(node IN LISTS A_NODES)
      math(EXPR transport_turn "(${i} + ${j}) % ${turns}")
      math(EXPR vm_turn "(${i} / 2 + ${j}) % 2")
      list(GET A_TRANSPORTS ${transport_turn} ci_transport)
      list(GET vms ${vm_turn} ci_vm)
      foreach(transport IN LISTS A_TRANSPORTS)
        foreach(vm IN LISTS vms)
          set(labels ${A_LABELS} long)
          if(ranks IN_LIST in_ci AND transport STREQUAL ci_transport
             AND vm STREQUAL ci_vm)
            list(APPEND labels ci)
            if(A_ASAN AND ranks GREATER 1 AND ranks LESS 4)
              list(APPEND labels asan)
            endif()
            if(ranks IN_LIST A_TSAN AND node STREQUAL rank)
              list(APPEND labels tsan)
            endif()
          endif()
          set(env "RECTO_NODE=${node};RECTO_TRANSPORT=${transport}")
          if(vm STREQUAL mprotect)
            string(APPEND env ";RECTO_VM=mprotect;RECTO_DIRTY=fault")
          endif()
          set(test ${name}.n${ranks}.${node}.${transport}.${vm})
          add_test(
            NAME ${test} COMMAND ${RECTO_MPIRUN} ${RECTO_TEST_WORK}/${test}
                                 ${ranks} $<TARGET_FILE:${program}> ${A_ARGS})
          recto_test_properties(${test} ${ranks} ${A_TIMEOUT} "${labels}"
                                "${env};${A_ENV}")
        endforeach()
      endforeach()
      math(EXPR j "${j} + 1")
    endforeach()
    math(EXPR i "${i} + 1")
  endforeach()
endfunction()

# recto_script_test(NAME SCRIPT file [ARGS a...] [RANKS most-at-once]
#                   [ENV VAR=value...] [LABELS l...] [TIMEOUT s] [CLUSTER]):
# an executable script, or one in Python; CLUSTER: over nodes, too. Its environment says TEST_SOURCE, TEST_BUILD (with bin/,
# lib/ and mpi-tests/), TEST_MPIRUN (cmake/mpirun-test) and TEST_WORK, a folder
# for it to make and use. (RECTO_... names would be warned about.)
function(recto_script_test name)
  cmake_parse_arguments(PARSE_ARGV 1 A "CLUSTER" "SCRIPT;RANKS;TIMEOUT"
                        "ARGS;ENV;LABELS")
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  if(NOT A_RANKS)
    set(A_RANKS 1)
  endif()
  if(NOT A_LABELS)
    set(A_LABELS ci long)
  endif()
  get_filename_component(script ${A_SCRIPT} ABSOLUTE)
  if(script MATCHES "\\.py$")
    set(script python3 -Bu ${script})
  endif()
  if(A_CLUSTER)
    recto_cluster_note(script ${name} TIMEOUT ${A_TIMEOUT} ENV ${A_ENV}
                       COMMAND ${script} ${A_ARGS})
  endif()
  add_test(NAME ${name} COMMAND ${script} ${A_ARGS})
  recto_test_properties(${name} ${A_RANKS} ${A_TIMEOUT} "${A_LABELS}"
                        "TEST_WORK=${RECTO_TEST_WORK}/${name};${A_ENV}")
endfunction()
