# SPDX-License-Identifier: BSD-3-Clause
#
# The tests of several ranks once more over several nodes: RectoTests.cmake notes what
# it declares, recto_cluster_tests() makes tests of the notes. All have the labels
# `cluster` and `long`; `ci` has each of them once, the shapes and settings taking turns.
# They share one cluster (mpi-tests/cluster/cluster), a fixture.
include_guard()

set(RECTO_CLUSTER ${PROJECT_SOURCE_DIR}/mpi-tests/cluster)
set(RECTO_CLUSTER_ROOT ${RECTO_TEST_WORK}/cluster)

# Notes a test: KIND product, single or script; COMMAND is what follows the number of
# ranks, or the script and its arguments.
function(recto_cluster_note kind name)
  cmake_parse_arguments(PARSE_ARGV 2 A "" "TIMEOUT" "COMMAND;ENV")
  set_property(GLOBAL APPEND PROPERTY RECTO_CLUSTER_NOTES ${name})
  foreach(what COMMAND ENV TIMEOUT)
    set_property(GLOBAL PROPERTY RECTO_CLUSTER_${name}_${what} "${A_${what}}")
  endforeach()
  set_property(GLOBAL PROPERTY RECTO_CLUSTER_${name}_KIND ${kind})
endfunction()

# recto_cluster_test(TEST NODES RANKS LABELS COMMAND... [ENV VAR=value...] [TIMEOUT s])
function(recto_cluster_test test nodes ranks)
  cmake_parse_arguments(PARSE_ARGV 3 A "" "TIMEOUT" "COMMAND;ENV;LABELS")
  add_test(NAME ${test} COMMAND ${A_COMMAND})
  recto_test_properties(
    ${test} ${ranks} ${A_TIMEOUT} "cluster;long;${A_LABELS}"
    "TEST_CLUSTER=${RECTO_CLUSTER_ROOT};TEST_NODES=${nodes};TEST_MPIRUN=${RECTO_CLUSTER}/mpirun-cluster;TEST_WORK=${RECTO_TEST_WORK}/${test};${A_ENV}")
  # They compute; see recto_cluster_script.
  set_tests_properties(${test} PROPERTIES FIXTURES_REQUIRED cluster
                                          PROCESSORS ${ranks})
endfunction()

# recto_cluster_script(NAME COST seconds ...): recto_script_test for a test with clusters
# of its own, which waits most of the time: for nodes to be lost, for jobs to start. The
# stage runs with two jobs of ctest a core, and the longest of these first.
function(recto_cluster_script name)
  cmake_parse_arguments(PARSE_ARGV 1 A "" "COST" "")
  recto_script_test(${name} ${A_UNPARSED_ARGUMENTS})
  set_tests_properties(${name} PROPERTIES COST ${A_COST})
endfunction()

# How ranks of one node may stand to each other: RECTO_NODE.RECTO_TRANSPORT.
set(RECTO_CLUSTER_SETTINGS_1 auto.auto)
set(RECTO_CLUSTER_SETTINGS_2 auto.auto rank.auto rank.mpi)
set(RECTO_CLUSTER_SHAPES 2x1 3x2 4x1 2x2 3x1 4x2) # nodes x ranks of each

# The product of a program over shapes, settings and back ends; number `i`.
function(recto_cluster_product name i command env timeout)
  list(GET command 0 program)
  math(EXPR ci_shape "${i} % 6")
  math(EXPR ci_vm "(${i} + ${i} / 6) % 2")
  set(s 0)
  foreach(shape IN LISTS RECTO_CLUSTER_SHAPES)
    string(REPLACE "x" ";" numbers ${shape})
    list(GET numbers 0 nodes)
    list(GET numbers 1 width)
    math(EXPR ranks "${nodes} * ${width}")
    list(LENGTH RECTO_CLUSTER_SETTINGS_${width} count)
    math(EXPR ci_setting "(${i} + ${i} / 6) % ${count}")
    set(k 0)
    foreach(setting IN LISTS RECTO_CLUSTER_SETTINGS_${width})
      string(REPLACE "." ";" words ${setting})
      list(GET words 0 node)
      list(GET words 1 transport)
      set(v 0)
      foreach(vm auto mprotect)
        set(test cluster.${name}.${shape}.${node}.${transport}.${vm})
        set(settings RECTO_NODE=${node} RECTO_TRANSPORT=${transport})
        if(vm STREQUAL mprotect)
          list(APPEND settings RECTO_VM=mprotect RECTO_DIRTY=fault)
        endif()
        set(labels)
        if(s EQUAL ci_shape AND k EQUAL ci_setting AND v EQUAL ci_vm)
          set(labels ci)
        endif()
        recto_cluster_test(
          ${test} ${nodes} ${ranks} LABELS ${labels} TIMEOUT ${timeout}
          COMMAND ${RECTO_CLUSTER}/mpirun-cluster ${RECTO_TEST_WORK}/${test}
                  ${ranks} ${command}
          ENV ${settings} ${env})
        math(EXPR v "${v} + 1")
      endforeach()
      math(EXPR k "${k} + 1")
    endforeach()
    math(EXPR s "${s} + 1")
  endforeach()
endfunction()

# A test with settings of its own, or a script: over 2, 3 and 4 nodes, with as many or
# twice as many ranks (scripts: with their own numbers).
function(recto_cluster_single name i kind command env timeout)
  math(EXPR ci_nodes "${i} % 3 + 2")
  foreach(nodes 2 3 4)
    set(labels)
    if(nodes EQUAL ci_nodes)
      set(labels ci)
    endif()
    set(test cluster.${name}.${nodes})
    if(kind STREQUAL single)
      math(EXPR ranks "${nodes} * (1 + ${nodes} % 2)")
      set(run ${RECTO_CLUSTER}/mpirun-cluster ${RECTO_TEST_WORK}/${test}
              ${ranks})
    else()
      set(ranks 4)
      set(run)
    endif()
    recto_cluster_test(${test} ${nodes} ${ranks} LABELS ${labels}
                       TIMEOUT ${timeout} COMMAND ${run} ${command} ENV ${env})
  endforeach()
endfunction()

# Makes the fixture and the tests of all notes.
function(recto_cluster_tests)
  add_test(NAME cluster.up COMMAND ${RECTO_CLUSTER}/fixture up
                                   ${RECTO_CLUSTER_ROOT} 4)
  add_test(NAME cluster.down COMMAND ${RECTO_CLUSTER}/fixture down
                                     ${RECTO_CLUSTER_ROOT})
  set_tests_properties(cluster.up cluster.down
                       PROPERTIES TIMEOUT 60 SKIP_RETURN_CODE 77)
  set_tests_properties(cluster.up PROPERTIES FIXTURES_SETUP cluster)
  set_tests_properties(cluster.down PROPERTIES FIXTURES_CLEANUP cluster)
  get_property(names GLOBAL PROPERTY RECTO_CLUSTER_NOTES)
  set(i 0)
  foreach(name IN LISTS names)
    foreach(what KIND COMMAND ENV TIMEOUT)
      get_property(${what} GLOBAL PROPERTY RECTO_CLUSTER_${name}_${what})
    endforeach()
    if(KIND STREQUAL product)
      recto_cluster_product(${name} ${i} "${COMMAND}" "${ENV}" ${TIMEOUT})
    else()
      recto_cluster_single(${name} ${i} ${KIND} "${COMMAND}" "${ENV}"
                           ${TIMEOUT})
    endif()
    math(EXPR i "${i} + 1")
  endforeach()
endfunction()
