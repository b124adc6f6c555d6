// All of instep's public interface.
#pragma once

#include "instep/dataset.h"
#include "instep/losses.h"
#include "instep/run.h"
#include "instep/trainer.h"
