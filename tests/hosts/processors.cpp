// Lets a process believe in as many processors as PROCESSORS says, however many there are.
#include <dlfcn.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

static int count() {
  const char* text = std::getenv("PROCESSORS");
  return text ? std::atoi(text) : 1;
}

extern "C" int sched_getaffinity(pid_t, size_t size, cpu_set_t* set) noexcept {
  std::memset(set, 0, size);
  for (int each = 0; each < count(); ++each) CPU_SET_S(each, size, set);
  return 0;
}

extern "C" int pthread_getaffinity_np(pthread_t, size_t size, cpu_set_t* set) noexcept {
  return sched_getaffinity(0, size, set);
}

extern "C" long sysconf(int name) noexcept {
  if (name == _SC_NPROCESSORS_CONF || name == _SC_NPROCESSORS_ONLN) return count();
  static const auto real = reinterpret_cast<long (*)(int)>(dlsym(RTLD_NEXT, "sysconf"));
  return real(name);
}

extern "C" int get_nprocs() noexcept { return count(); }
extern "C" int get_nprocs_conf() noexcept { return count(); }
