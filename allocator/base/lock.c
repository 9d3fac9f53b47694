/* Whether the calling thread is forking. */
#include "base/lock.h"

_Thread_local bool hak_forking;
