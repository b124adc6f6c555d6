// ResNet-20 for small images: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition
// (2015), section 4.2, with shortcuts of option A, which have no parameters. Names as torchvision's
// ResNets have them: "conv1", "bn1", "layer1.0.conv1", …, "fc".
#pragma once

#include "model/network.h"

namespace instep::model {

// Images [n, channels, h, w] -> [n, outputs]; [n, h, w] where an image has one channel.
Network make_resnet20(const job::Model& model);

}  // namespace instep::model
