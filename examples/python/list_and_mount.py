#!/usr/bin/env python3
"""List the images of the store that storage.conf describes, and mount the first: ctypes, no further module.

Set ORLOP_LIBRARY to use a liborlop.so that is in no usual place.
"""
import ctypes, json, os, sys

orlop = ctypes.CDLL(os.environ.get("ORLOP_LIBRARY", "liborlop.so.0"))
orlop.orlop_error_message.restype = ctypes.c_char_p


class Buf(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def call(name, *arguments):
    error = ctypes.c_void_p()
    if getattr(orlop, name)(*arguments, ctypes.byref(error)) < 0:
        text = orlop.orlop_error_message(error).decode()
        orlop.orlop_error_free(error)
        sys.exit(text)


def answer(name, *arguments):
    buf = Buf()
    call(name, *arguments, ctypes.byref(buf))
    content = ctypes.string_at(buf.data, buf.len)
    orlop.orlop_buf_free(ctypes.byref(buf))
    return content


config, store = ctypes.c_void_p(), ctypes.c_void_p()
call("orlop_config_load", None, ctypes.byref(config))
call("orlop_store_open", config, ctypes.byref(store))
images = json.loads(answer("orlop_images", store))
for image in images:
    print(image["id"], *image.get("names") or [])
if images:
    top = os.fsdecode(answer("orlop_mount_image", store, images[0]["id"].encode(), None))
    print(*sorted(os.listdir(top)))
    call("orlop_unmount_image", store, images[0]["id"].encode(), ctypes.c_uint32(0))
orlop.orlop_store_free(store)
orlop.orlop_config_free(config)
