# Finds libtorch in the torch wheel (or an unpacked libtorch) at INSTEP_LIBTORCH, or at the place that
# ./dev made. The wheel's own CMake package demands a CUDA toolkit where the wheel was built with
# CUDA; two imported targets need none and serve both wheels: Libtorch::c10 and Libtorch::torch.
set(INSTEP_LIBTORCH "$ENV{INSTEP_LIBTORCH}" CACHE PATH "Folder with include/ and lib/ of libtorch")
find_path(Libtorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h
          HINTS ${INSTEP_LIBTORCH}/include NO_DEFAULT_PATH)
find_library(Libtorch_C10 c10 HINTS ${INSTEP_LIBTORCH}/lib NO_DEFAULT_PATH)
find_library(Libtorch_CPU torch_cpu HINTS ${INSTEP_LIBTORCH}/lib NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch REQUIRED_VARS Libtorch_INCLUDE_DIR Libtorch_C10 Libtorch_CPU
  REASON_FAILURE_MESSAGE "run ./dev build, or set INSTEP_LIBTORCH to the torch folder of a wheel")
if(Libtorch_FOUND AND NOT TARGET Libtorch::torch)
  get_filename_component(Libtorch_LIB_DIR ${Libtorch_C10} DIRECTORY)
  add_library(Libtorch::c10 SHARED IMPORTED)
  set_target_properties(Libtorch::c10 PROPERTIES
    IMPORTED_LOCATION ${Libtorch_C10}
    INTERFACE_INCLUDE_DIRECTORIES
      "${Libtorch_INCLUDE_DIR};${Libtorch_INCLUDE_DIR}/torch/csrc/api/include"
    INTERFACE_SYSTEM_INCLUDE_DIRECTORIES
      "${Libtorch_INCLUDE_DIR};${Libtorch_INCLUDE_DIR}/torch/csrc/api/include")
  add_library(Libtorch::torch SHARED IMPORTED)
  # The CUDA wheel's torch_cpu needs libraries of its nvidia packages, found through its own RUNPATH;
  # at link time they are of no concern.
  set_target_properties(Libtorch::torch PROPERTIES
    IMPORTED_LOCATION ${Libtorch_CPU}
    INTERFACE_LINK_LIBRARIES Libtorch::c10
    INTERFACE_LINK_OPTIONS
      "-Wl,--allow-shlib-undefined;-Wl,-rpath,${Libtorch_LIB_DIR}")
endif()
