#!/bin/sh
# All profiles, in 1, 3 and 5 stages, each built in 15 s.
exec python3 "$2/tests/e2e/profiles.py" "$1" "$2" 15 alexnet:1,5,3 squeezenet1_0:1,5,3 vgg16:1,5,3 resnet18:1,5,3 resnet50:1,5,3 \
    resnet101:1,5,3 resnext50:1,5,3 inception_v3:1,5,3 nasnetamobile:1,5,3 gnmt:1,5,3
