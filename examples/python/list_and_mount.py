#!/usr/bin/env python3
"""List the images of the store that storage.conf describes, and mount the first. ORLOP_LIBRARY may say where liborlop.so is."""
import ctypes, json, os, sys

orlop = ctypes.CDLL(os.environ.get("ORLOP_LIBRARY", "liborlop.so.0"))
orlop.orlop_error_message.restype = ctypes.c_char_p

class Buf(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t)]

def call(function, *arguments, into=None):
    error = ctypes.c_void_p()
    places = [ctypes.byref(place) for place in (into, error) if place is not None]
    if function(*arguments, *places) < 0:
        sys.exit(orlop.orlop_error_message(error).decode())
    if isinstance(into, Buf):
        content = ctypes.string_at(into.data, into.len)
        orlop.orlop_buf_free(ctypes.byref(into))
        return content
    return into

config = call(orlop.orlop_config_load, None, into=ctypes.c_void_p())
store = call(orlop.orlop_store_open, config, into=ctypes.c_void_p())
images = json.loads(call(orlop.orlop_images, store, into=Buf()))
for image in images:
    print(image["id"], *image.get("names") or [])
if images:
    image = images[0]["id"].encode()
    top = os.fsdecode(call(orlop.orlop_mount_image, store, image, None, into=Buf()))
    print(*sorted(os.listdir(top)))
    call(orlop.orlop_unmount_image, store, image, ctypes.c_uint32(0))
orlop.orlop_store_free(store)
orlop.orlop_config_free(config)
