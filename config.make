# Sourced at the end of auto/make. nginx compiles everything as $(CC) $(CFLAGS); only our objects take
# the C++ flags, since nginx's generated C files would refuse them.

llm_cxxflags="-std=c++20 -fvisibility=hidden -fvisibility-inlines-hidden"
# A unique symbol would pin the library in memory and share its state with the copy of a later reload.
if [ "$NGX_CC_NAME" = gcc ]; then
    llm_cxxflags="$llm_cxxflags -fno-gnu-unique"
fi

for llm_src in $llm_srcs; do
    llm_room=`basename \`dirname $llm_src\``
    llm_obj=`basename $llm_src .cpp`
    echo "$NGX_OBJS/addon/$llm_room/$llm_obj.$ngx_objext: CFLAGS += $llm_cxxflags" >> $NGX_MAKEFILE
done
