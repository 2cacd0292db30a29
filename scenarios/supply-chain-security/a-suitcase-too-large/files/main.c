/* {{ app }}: says that it is there. */
#include <stdio.h>
int main(void) { puts("{{ app }}"); return 0; }
